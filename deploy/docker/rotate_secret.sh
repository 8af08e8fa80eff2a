#!/bin/sh
# deploy/docker/rotate_secret.sh NAME: a new random value for one of the stack's own secrets, while it runs.
#
#   mage_pgpass               Mage's password at Postgres; Mage reads the file anew for each connection
#   warehouse_owner_password  the owner's, which only the set-up step uses
#   reader_password           what people type in pgAdmin
#   mage_owner_password       the log-in to Mage's page
#   mage_jwt_secret           ends all log-ins; Mage is restarted, and runs go on where they were
#
# What the pipelines use is in Mage Secrets and rotated there: docker compose exec mage qbo-backfill secrets rotate NAME
set -eu
umask 077
cd "$(dirname "$0")/../.."
name=${1:-}
file=deploy/docker/secrets/$name

fail() {
    echo "rotate_secret.sh: $1" >&2
    exit "${2:-4}"
}

random() {
    LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 32
}

# In place: a running container has this very file, not whatever bears its name later.
write() {
    printf '%s%s\n' "$1" "$new" > "$file"
}

# The password counts from the commit on, and is in the file just before: no connection falls between the two.
at_postgres() {
    role=$1 prefix=${2:-}
    pipes=$(mktemp -d)
    trap 'rm -rf "$pipes"' EXIT
    mkfifo "$pipes/in" "$pipes/out"
    docker compose exec -T postgres psql --no-psqlrc --quiet --tuples-only --set ON_ERROR_STOP=1 \
        --username postgres --dbname postgres < "$pipes/in" > "$pipes/out" &
    exec 3> "$pipes/in" 4< "$pipes/out"
    printf "SET log_min_error_statement = panic;\nBEGIN;\nALTER ROLE %s PASSWORD '%s';\n\\\\echo ready\n" "$role" "$new" >&3
    read -r said <&4 || said=
    [ "$said" = ready ] || fail "Postgres didn't take the new password of $role; nothing was changed"
    write "$prefix"
    printf 'COMMIT;\n\\echo done\n' >&3
    read -r said <&4 || said=
    [ "$said" = done ] || fail "the new password of $role is in $file but not at Postgres: run this again"
    exec 3>&-
    wait
}

[ -f "$file" ] || fail "NAME '$name' is none of deploy/docker/secrets; the head of this script lists them" 2
new=$(random)
case $name in
    mage_pgpass) at_postgres mage postgres:5432:mage:mage: ;;
    warehouse_owner_password) at_postgres qbo_owner ;;
    reader_password) at_postgres qbo_reader ;;
    mage_owner_password)
        printf '%s\n' "$new" | docker compose exec -T mage python /opt/backfill/set_owner_password.py \
            || fail "Mage didn't take the new password; nothing was changed"
        write ''
        ;;
    mage_jwt_secret)
        write ''
        docker compose restart mage
        ;;
    extractor_password) fail "rotate it with: docker compose exec mage qbo-backfill secrets rotate POSTGRES_PASSWORD" 2 ;;
    pgadmin_password) fail "change it in pgAdmin itself, under your address at the top right: Change Password" 2 ;;
    *) fail "$name is used once, at the first start; there is nothing to rotate" 2 ;;
esac
echo "$name is rotated; the new value is in $file"
