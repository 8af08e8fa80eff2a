-- A column of a view means what the column of the same name means in the table that it comes from.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT DISTINCT ON (v.relname, a.attname) v.relname AS view_name, a.attname AS column_name, d.description
          FROM pg_class v
          JOIN pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0
          JOIN unnest(ARRAY['ops.attempts', 'ops.chunks', 'ops.runs', 'ops.validations']) WITH ORDINALITY AS t (name, place) ON true
          JOIN pg_attribute b ON b.attrelid = t.name::regclass AND b.attname = a.attname
          JOIN pg_description d ON d.objoid = t.name::regclass AND d.objsubid = b.attnum
         WHERE v.relnamespace = 'ops'::regnamespace AND v.relkind = 'v' AND col_description(v.oid, a.attnum) IS NULL
         ORDER BY v.relname, a.attname, t.place
    LOOP
        EXECUTE format('COMMENT ON COLUMN ops.%I.%I IS %L', found.view_name, found.column_name, found.description);
    END LOOP;
END $$;

COMMENT ON COLUMN ops.chunk_metrics.attempts         IS 'How often the run began the chunk.';
COMMENT ON COLUMN ops.run_metrics.seconds            IS 'Wall time of the run so far.';
COMMENT ON COLUMN ops.run_metrics.chunks_planned     IS 'Chunks that the run set out to do.';
COMMENT ON COLUMN ops.run_metrics.chunks_done        IS 'How many of them are done now.';
COMMENT ON COLUMN ops.run_metrics.chunks_failed      IS 'How many of them have failed.';
COMMENT ON COLUMN ops.progress.chunks_planned        IS 'Chunks that the run set out to do.';
COMMENT ON COLUMN ops.progress.chunks_done           IS 'How many of them are done now.';
COMMENT ON COLUMN ops.progress.rows_per_second       IS 'Rows read a second of wall time.';
