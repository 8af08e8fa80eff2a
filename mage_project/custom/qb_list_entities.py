if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom

from async_extractor.mage import company


@custom
def qb_list_entities(*args, **kwargs):
    """List the entities to backfill, and check all parameters.

    Args:
        kwargs: The pipeline's variables: entities (all, or a list), fecha_inicio, fecha_fin, chunk, concurrency ...

    Returns:
        Each entity: Mage runs qb_entity for each.
    """
    return company.list_entities(kwargs)
