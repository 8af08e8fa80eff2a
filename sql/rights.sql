-- What each role may do in the warehouse, no more and no less: first all is taken, then what is needed is given,
-- in one transaction. Applied by the tables' owner after every migration; running it again changes nothing.
-- Where the roles of roles.sql don't exist, nothing happens: the database then has one owner who does all.
-- {raw} is the company's schema: raw, or raw_acme for the profile acme; {views} that of the views over it, which need not be there.
DO $$
DECLARE
    mine constant boolean := (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database());
    views_mine constant boolean := coalesce((SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = '{views}'), false);
    role_name text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname IN ('qbo_extractor', 'qbo_reader')) THEN
        RETURN;
    END IF;
    IF mine THEN
        EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
    -- Whoever may make functions in public could have them called in the place of Postgres' own. Where public is the
    -- superuser's (before Postgres 15), roles.sql does it.
    IF (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public') THEN
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    END IF;
    REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA ops FROM PUBLIC;

    FOREACH role_name IN ARRAY ARRAY['qbo_extractor', 'qbo_reader'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA {raw}, ops FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ops FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON SCHEMA {raw}, ops FROM %I', role_name);
        EXECUTE format('GRANT USAGE ON SCHEMA {raw}, ops TO %I', role_name);
        IF views_mine THEN
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA {views} FROM %I', role_name);
            EXECUTE format('REVOKE ALL ON SCHEMA {views} FROM %I', role_name);
        END IF;
        IF mine THEN
            EXECUTE format('REVOKE ALL ON DATABASE %I FROM %I', current_database(), role_name);
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role_name);
        END IF;
    END LOOP;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'qbo_extractor') THEN
        GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {raw}, ops TO qbo_extractor;
        -- Which migrations were applied is the owner's to write.
        REVOKE INSERT, UPDATE ON ops.schema_versions FROM qbo_extractor;
        -- Turns of the budget are forgotten after a minute, and days that QuickBooks has confirmed; nothing else is ever deleted.
        GRANT DELETE ON ops.turns, ops.waiting, ops.changed_days TO qbo_extractor;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ops TO qbo_extractor;
        IF mine THEN  -- staging is a temporary table
            EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO qbo_extractor', current_database());
        END IF;
    END IF;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'qbo_reader') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA {raw}, ops TO qbo_reader;
        -- What the views are made of: values of a record, and nothing of the ledger.
        GRANT EXECUTE ON FUNCTION ops.text_at, ops.number_at, ops.boolean_at, ops.date_at, ops.instant_at TO qbo_reader;
        IF views_mine THEN
            GRANT USAGE ON SCHEMA {views} TO qbo_reader;
            GRANT SELECT ON ALL TABLES IN SCHEMA {views} TO qbo_reader;
        END IF;
    END IF;
END $$;
