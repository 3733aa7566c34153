"""Raw values to codes and back: public domains for free, unknown ones measured under a charge."""

from dpsynth.encoding.codec import Codec, Decoder
from dpsynth.encoding.domains import needs_events, public_attribute, released_attributes

__all__ = ["Codec", "Decoder", "needs_events", "public_attribute", "released_attributes"]
