"""The longest period of amounts, a week: taken up to it and refused beyond it with a remedy, wherever a channel is declared."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from plantprint.facts import PERIOD_S_MAX, Channel
from plantprint.neutral.document import StatedChannel
from plantprint.wire.chunk import BadBodyError, ChunkHeader, decode_table, encode_table
from plantprint_edge.config.folder import FolderSource
from plantprint_edge.config.mqtt import MqttValue
from plantprint_edge.config.replay import ReplaySource

CHANNEL = Channel("gw", "gas", "Nm3", 1, "amount", PERIOD_S_MAX)
HEADER = ChunkHeader(v=1, site="s", agent="gw", epoch="e", seq=1, kind="declare", n=1, crc=0)


def test_a_channel_table_on_the_wire() -> None:
    assert decode_table(HEADER, encode_table([CHANNEL])) == [CHANNEL]
    for period_s in (PERIOD_S_MAX + 1, 2**62, -1):
        body = encode_table([replace(CHANNEL, period_s=period_s)])
        with pytest.raises(
            BadBodyError, match=rf"'gas': period_s {period_s} is not within 0 to 604800 \(a week\); send"
        ):
            decode_table(HEADER, body)


def test_a_document_of_facts() -> None:
    said: dict[str, Any] = {"channel": "gw/gas", "unit": "Nm3", "decimals": 1, "kind": "amount"}
    assert StatedChannel(**said, period_s=PERIOD_S_MAX).period_s == PERIOD_S_MAX
    with pytest.raises(ValidationError, match=r"longer than a week .* give longer spans under `amounts`"):
        StatedChannel(**said, period_s=PERIOD_S_MAX + 1)
    assert StatedChannel.model_json_schema()["properties"]["period_s"]["maximum"] == PERIOD_S_MAX


@pytest.mark.parametrize("model", [FolderSource, MqttValue, ReplaySource])
def test_an_agents_file(model: type[BaseModel]) -> None:
    def complaints(period_s: int) -> list[str]:
        with pytest.raises(ValidationError) as raised:
            model.model_validate({"period_s": period_s})  # the rest is missing
        return [one["msg"] for one in raised.value.errors() if one["loc"] == ("period_s",)]

    assert complaints(PERIOD_S_MAX) == []
    assert complaints(PERIOD_S_MAX + 1) == ["Input should be less than or equal to 604800"]
