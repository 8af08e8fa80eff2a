if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom

from async_extractor.mage import blocks


@custom
def qb_report(validated, *args, **kwargs):
    """Close the run and write its report.

    Args:
        validated: The table of qb_validate.

    Returns:
        A table: the verdict and the totals, then a row a chunk.
    """
    return blocks.report(validated, kwargs)
