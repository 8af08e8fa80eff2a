if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test

from async_extractor.mage import blocks


@custom
def qb_extract(planned, *args, **kwargs):
    """Read the run's chunks from QuickBooks into Postgres, `concurrency` at a time.

    Args:
        planned: What qb_plan gave this worker; the parameters are those of the run in ops.runs.

    Returns:
        What it got, with the number of chunks and of those that are done.
    """
    return blocks.extract(planned, kwargs)


@test
def all_chunks_are_done(output, *args):
    """Every chunk that the run set out to do is in raw."""
    assert output["chunks_done"] == output["chunks"], f"{output['chunks_done']} of {output['chunks']} chunks are done"
