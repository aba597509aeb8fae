"""/v1/models: the model catalog."""

from fastapi import APIRouter
from starlette.responses import Response

from batchchat.api.http.auth import Context, ProjectLedger
from batchchat.api.http.json_response import JsonResponse
from batchchat.api.http.schemas import ModelList, ModelObject, errors
from batchchat.jobs.catalog.model_object import model_object, model_objects

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", responses={200: {"model": ModelList}, **errors()})
def list_models(_: ProjectLedger, context: Context) -> Response:
    """List the models that batches can use; each alias is listed too."""
    return JsonResponse({"object": "list", "data": model_objects(context.catalog)})


@router.get("/{model:path}", responses={200: {"model": ModelObject}, **errors(404)})
def retrieve_model(model: str, _: ProjectLedger, context: Context) -> Response:
    """Retrieve a model."""
    return JsonResponse(model_object(context.catalog.find(model), model))
