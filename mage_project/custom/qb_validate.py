from async_extractor.mage import blocks

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def qb_validate(extracted, *args, **kwargs):
    """Checks what arrived: keys, counts against QuickBooks, times."""
    return blocks.validate(extracted, kwargs)
