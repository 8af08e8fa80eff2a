from async_extractor.mage import blocks

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def qb_extract(planned, *args, **kwargs):
    """Reads the run's chunks from QuickBooks into Postgres, `concurrency` at a time."""
    return blocks.extract(planned, kwargs)
