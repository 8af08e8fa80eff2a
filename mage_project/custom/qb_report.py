from async_extractor.mage import blocks

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def qb_report(validated, *args, **kwargs):
    """Closes the run; the block's output is its table of chunks, with the total."""
    return blocks.report(validated, kwargs)
