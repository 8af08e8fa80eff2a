#!/bin/sh
# The stack's first step, before Mage starts: the warehouse is migrated by its owner, and Mage Secrets learn how
# the pipelines reach Postgres. Each start runs it; what is there already is left as it is.
set -eu
secrets=${SECRETS_DIR:-/run/secrets}

qbo-backfill warehouse migrate --host "$POSTGRES_HOST" --port 5432 --database warehouse \
    --user qbo_owner --password-file "$secrets/warehouse_owner_password"

store() {
    qbo-backfill secrets set "$1" --if-missing
}
echo "$POSTGRES_HOST" | store POSTGRES_HOST
echo 5432 | store POSTGRES_PORT
echo warehouse | store POSTGRES_DB
echo qbo_extractor | store POSTGRES_USER
store POSTGRES_PASSWORD < "$secrets/extractor_password"

# With COMPOSE_PROFILES=simulator: its invented credentials, unless a company's own are stored.
case ",${COMPOSE_PROFILES:-}," in
    *,simulator,*) python /opt/backfill/use_simulator.py http://simulator:8080 ;;
esac
