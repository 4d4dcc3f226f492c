#!/bin/sh
# Starts the three programs. Ctrl-C ends them together.
uvicorn demo.scoring:app --port "${SCORING_PORT:-8001}" &
programs=$!
uvicorn demo.api:app --port "${API_PORT:-8000}" &
programs="$programs $!"
celery -A demo.tasks worker --concurrency 2 &
programs="$programs $!"
trap 'kill $programs' INT TERM
wait
wait
