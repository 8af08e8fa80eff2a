if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom

from async_extractor.mage import company


@custom
def qb_company_report(ended, *args, **kwargs):
    """Tell what became of every entity.

    Args:
        ended: What the children of qb_entity gave.

    Returns:
        A table: a row an entity.
    """
    return company.report(ended, kwargs)
