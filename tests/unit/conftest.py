"""How hypothesis searches here: no deadlines, since machines differ."""

from hypothesis import settings

settings.register_profile("batchchat", deadline=None, max_examples=60)
settings.load_profile("batchchat")
