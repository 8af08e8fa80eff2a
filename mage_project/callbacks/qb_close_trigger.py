if "callback" not in globals():
    from mage_ai.data_preparation.decorators import callback

from async_extractor.mage import blocks


@callback("success")
def qb_close_trigger(parent_block_data, **kwargs):
    """Set the one-time trigger of this run inactive in triggers.yaml; Mage itself only does so in its database."""
    blocks.close_trigger(kwargs)
