-- name: outage
SELECT extract(epoch FROM since)::double precision AS since, why, probe_in_seconds FROM ops.outage($1);

-- name: report_outage
SELECT ops.report_outage($1, $2, $3);

-- name: claim_probe
SELECT ops.claim_probe($1) AS seconds;

-- name: probe_failed
SELECT ops.probe_failed($1, $2, $3);

-- name: end_outage
SELECT ops.end_outage($1);
