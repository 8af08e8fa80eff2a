if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test

from async_extractor.mage import blocks


@custom
def qb_validate(extracted, *args, **kwargs):
    """Check what arrived: keys, counts against QuickBooks, times.

    Args:
        extracted: What the workers of qb_extract gave.

    Returns:
        A table of the checks, the gravest first.
    """
    return blocks.validate(extracted, kwargs)


@test
def no_check_is_an_error(output, *args):
    """No row is missing or wrong."""
    assert "error" not in set(output["result"]), "; ".join(output[output["result"] == "error"]["what_was_found"])
