-- name: note_mage_run
-- Beside the run's settings: its language, and which run of Mage's it belongs to.
UPDATE ops.runs SET settings = settings || $2 WHERE run_id = $1;

-- name: run_of_mage_execution
-- The newest run that was planned for the same execution of a Mage trigger, and for the same range.
SELECT run_id, status, finished_at, coalesce(settings ->> 'include', 'none') AS include
  FROM ops.runs
 WHERE realm_id = $1 AND entity = $2 AND filter_field = $3 AND range_start = $4 AND range_end = $5
   AND mode <> 'verify' AND settings ->> 'mage_execution' = $6
 ORDER BY run_id DESC LIMIT 1;
