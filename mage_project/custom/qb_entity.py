if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom

from async_extractor.mage import company


@custom
def qb_entity(one, *args, **kwargs):
    """Backfill one entity: plan, read, check and report.

    Args:
        one: The entity that qb_list_entities gave this child.

    Returns:
        What its run came to, or that the company doesn't have it.
    """
    return company.backfill_entity(one, kwargs)
