-- One entity's view over raw: raw_views.invoices, or raw_acme_views.invoices for the profile acme. Its columns come from
-- the entity's row of async_extractor/entities.py.
CREATE VIEW {views}.{view} AS
SELECT {columns}
  FROM raw.{table};
-- Who looks through it sees what he may see in raw. Before Postgres 15 a view has its owner's rights.
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 150000 THEN
        ALTER VIEW {views}.{view} SET (security_invoker = true);
    END IF;
END $$;
