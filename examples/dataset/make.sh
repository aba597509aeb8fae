#!/bin/sh
# Several answers to each prompt, as a dataset for fine-tuning: make.sh MODEL FOLDER
set -eu
here=$(dirname "$0")
id=$(batchchat submit "$here/prompts.jsonl" --template "$here/request.yaml" \
  --samples "${SAMPLES:-8}" --seed 0 --model "$1" --no-wait)
batchchat resume "$id" || [ $? = 1 ] # 1: some requests have failed
batchchat results "$id" --only completed --no-response --dataset "$2"
