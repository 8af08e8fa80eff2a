from async_extractor import mage

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def qb_validate(extracted, *args, **kwargs):
    """Checks what arrived: keys, counts against QuickBooks, times."""
    return mage.validate(extracted, kwargs)
