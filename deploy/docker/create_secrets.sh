#!/bin/sh
# Creates what the stack's files of secrets lack, each with a random value, readable by their owner only. The
# containers run as that owner (Compose can't give a file to another uid): its number goes to .env, and a name
# for it, without which initdb refuses to run, to a passwd file. What is there stays. `make up` runs it.
set -eu
umask 077
cd "$(dirname "$0")/../.."
folder=deploy/docker/secrets
mkdir -p "$folder"
chmod 700 "$folder"

random() {
    # 32 letters and digits: no character that a URL, a shell or a .pgpass would read otherwise. About 190 bits.
    LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 32
}

create() {
    if [ ! -s "$folder/$1" ]; then
        # Under another name first: half a file must never be taken for a whole one.
        printf '%s%s\n' "${2:-}" "$(random)" > "$folder/.$1.new"
        mv "$folder/.$1.new" "$folder/$1"
        echo "created $folder/$1"
    fi
    chmod 600 "$folder/$1"
}

create postgres_password
create warehouse_owner_password
create extractor_password
create reader_password
create mage_pgpass postgres:5432:mage:mage:
create mage_owner_password
create mage_jwt_secret
create pgadmin_password

uid=$(id -u)
gid=$(id -g)
if [ "$uid" = 0 ]; then
    # Nothing of the stack runs as root: the checkout's owner, or else the first ordinary user's number.
    uid=$(stat -c %u mage_project)
    gid=$(stat -c %g mage_project)
    if [ "$uid" = 0 ]; then uid=1000 gid=1000; fi
    chown -R "$uid:$gid" "$folder" mage_project
fi
touch .env
chmod 644 .env
for line in "STACK_UID=$uid" "STACK_GID=$gid"; do
    name=${line%%=*}
    if ! grep -q "^$name=" .env; then echo "$line" >> .env; fi
done

printf 'root:x:0:0:root:/root:/bin/sh\npostgres:x:%s:%s:PostgreSQL:/var/lib/postgresql:/bin/sh\n' "$uid" "$gid" > "$folder/passwd"
chmod 644 "$folder/passwd"
