from async_extractor.mage import blocks

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def qb_plan(*args, **kwargs):
    """Checks the parameters and cuts what is left of the range into chunks, in the ledger."""
    return blocks.plan_for_workers(kwargs)
