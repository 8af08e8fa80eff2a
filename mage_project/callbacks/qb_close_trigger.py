from async_extractor.mage import blocks

if "callback" not in globals():
    from mage_ai.data_preparation.decorators import callback


@callback("success")
def qb_close_trigger(parent_block_data, **kwargs):
    """Disables the one-time trigger in triggers.yaml; Mage itself only does so in its database."""
    blocks.close_trigger(kwargs)
