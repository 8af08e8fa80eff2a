-- Since new records no longer pass through staging: what the seconds of COPY are.
COMMENT ON COLUMN ops.attempts.copy_seconds IS 'COPY: new records into raw, those that raw knows into staging.';

-- Its views say the same (010_view_comments.sql).
DO $$
DECLARE
    seen name;
BEGIN
    FOR seen IN
        SELECT v.relname FROM pg_class v JOIN pg_attribute a ON a.attrelid = v.oid
         WHERE v.relnamespace = 'ops'::regnamespace AND v.relkind = 'v' AND a.attname = 'copy_seconds'
    LOOP
        EXECUTE format('COMMENT ON COLUMN ops.%I.copy_seconds IS %L', seen,
                       col_description('ops.attempts'::regclass,
                                       (SELECT attnum FROM pg_attribute
                                         WHERE attrelid = 'ops.attempts'::regclass AND attname = 'copy_seconds')));
    END LOOP;
END $$;
