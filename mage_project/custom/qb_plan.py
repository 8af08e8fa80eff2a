if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom

from async_extractor.mage import blocks


@custom
def qb_plan(*args, **kwargs):
    """Check the parameters and cut what is left of the range into chunks.

    Args:
        kwargs: The pipeline's variables: entity, fecha_inicio, fecha_fin, chunk, concurrency, mode ...

    Returns:
        The run's number, entity and window, once for each of `workers`: Mage runs qb_extract for each.
    """
    return blocks.plan_for_workers(kwargs)
