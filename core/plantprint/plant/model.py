"""What `plant.yaml` may say: one frozen pydantic model per noun; meaning across nouns is checked in `check`."""

from datetime import datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
ChannelRef = Annotated[str, StringConstraints(pattern=r"^[^/\s]+/[^\s]+$")]
Expression = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.\-+ ]+$")]


def _unsexagesimal(given: object) -> object:
    """YAML 1.1 reads 14:30 without quotes as the number 870."""
    is_number = isinstance(given, int) and not isinstance(given, bool) and given >= 0
    return f"{given // 60:02}:{given % 60:02}" if is_number and isinstance(given, int) else given


LocalTime = Annotated[
    str, BeforeValidator(_unsexagesimal), StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
]


def _class_text(given: object) -> object:
    """YAML reads a class of 1 as a number."""
    return str(given) if isinstance(given, int | Decimal) and not isinstance(given, bool) else given


FileName = Annotated[str, StringConstraints(pattern=r"^[^\s./\\][^\s/\\]*(/[^\s./\\][^\s/\\]*)*$")]

AccuracyClass = Annotated[
    str, BeforeValidator(_class_text), StringConstraints(pattern=r"^(A|B|C|(0\.[0-9]*[1-9]|[1-9][0-9]?(\.[0-9]+)?)S?)$")
]
_BILLING_CLASSES = {"A": "2", "B": "1", "C": "0.5"}
UNDECLARED_LIMIT = Fraction(2, 100)
"""The relative error that a meter without an accuracy class is taken to be capable of."""

RESERVED_NODES = ("export", "unmetered", "losses")

Beside = Literal["power", "pressure", "temperature"]
BESIDE: tuple[Beside, ...] = get_args(Beside)
"""What channels beside a meter's own one tell of it."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(_Model):
    """A name in the languages of the pages."""

    en: str
    zh: str = ""


class Site(_Model):
    id: Id
    name: Text
    timezone: str = "UTC"
    geography: str = "GLO"


class Budget(_Model):
    """A carbon budget of a line: an hour's allowance, how long it must be exceeded, and when it counts as met again."""

    kg_co2e_per_hour: Decimal = Field(gt=0)
    pending_s: int = Field(default=30, ge=0)
    clear_ratio: Decimal = Field(default=Decimal("0.9"), gt=0, le=1)


class Step(_Model):
    """A process step (ISA-95 process segment) and how concurrent jobs share a work unit in it."""

    id: Id
    name: Text
    rule: Literal["weight", "equal", "exclusive"] = "weight"


class Idle(_Model):
    """What is idle waits for the end of its window and goes to the jobs that ran in it, by `driver`.

    `starts` are local times of the site: of every shift, of the day, or of the week's Monday. The end of a calendar
    month ends a window as well. Quantities (mass, pieces, area) are those of the batches' orders. `none` undoes the
    rule of the place above: idle amounts stay on account `idle`.
    """

    window: Literal["shift", "day", "week", "none"]
    starts: tuple[LocalTime, ...] = Field(default=("00:00",), min_length=1)
    driver: Literal["processing_time", "mass", "pieces", "area", "equal"] = "processing_time"


class StateRule(_Model):
    """A work unit's state where none is reported, from the mean power on a meter over every `mean_over_s` of an hour.

    From `processing_kw` on it is processing, from `idle_kw` on idle, below that off; such states are marked inferred.
    """

    meter: Id
    processing_kw: Decimal = Field(gt=0)
    idle_kw: Decimal = Field(gt=0)
    mean_over_s: int = Field(default=300, gt=0, le=3600)


class WorkUnit(_Model):
    """Equipment where flows end; `step` is what it is there for, used when no job says otherwise."""

    id: Id
    name: Text
    step: Id | None = None
    idle: Idle | None = None
    infer_state: StateRule | None = None


class WorkCenter(_Model):
    """A line (ISA-95 work center) with its work units."""

    id: Id
    name: Text
    area: str = ""
    budget: Budget | None = None
    idle: Idle | None = None
    work_units: tuple[WorkUnit, ...] = Field(min_length=1)


class Hourly(_Model):
    """Grid intensity by the hour: a CSV `file` beside plant.yaml, location-based; hours that it lacks take the source's factor.

    `purpose` says which of its two values counts where nobody asks: inventory what plants emitted, footprint the life cycle.
    `credit` is by whose word, as its licence asks for it. The file's name is the name of the series.
    """

    file: FileName
    purpose: Literal["footprint", "inventory"]
    credit: str = ""


class Source(_Model):
    """Where an amount enters the boundary; `factor` names a row of the factor library, per `unit`.

    `hourly` comes before it, in the hours that its file has. `kwh_per_unit` (a fuel's heating value) lets a converter's
    efficiency be checked.
    """

    id: Id
    name: Text
    unit: str
    kind: Literal["grid", "on_site", "fuel", "purchased", "direct"]
    factor: str
    scope: Literal[1, 2, 3]
    kwh_per_unit: Decimal | None = Field(default=None, gt=0)
    hourly: Hourly | None = None

    @property
    def series(self) -> str:
        """The name that a series of hours must have to be this source's."""
        return self.factor if self.hourly is None else self.hourly.file


class Material(_Model):
    """A purchased material: lots and uses of it that bring no supplier's footprint take `factor` (an id, or a subject)."""

    id: Id
    name: Text
    unit: str
    factor: str = ""


class Contract(_Model):
    """Electricity bought under a contract of its own; certificate events say how much of it was there when."""

    id: Id
    name: Text
    factor: str


class Market(_Model):
    """What the market-based figure of a source is made of: contracts matched by hour, and the residual mix for the rest."""

    source: Id
    contracts: tuple[Contract, ...] = ()
    residual: str = ""


class Binding(_Model):
    """Which channel feeds a meter from when to when; `ratio` is the CT x PT that the device does not apply.

    `power` is the same device's power (a gauge): counter and power are compared over each hour, and where the meter's
    `resolution` is coarse, power spreads what the counter counts within its steps. `pressure` (Pa, kPa, MPa, bar) and
    `temperature` (degC) are gauges of what flows through a meter of `steam` or `condensate`.
    """

    channel: ChannelRef
    power: ChannelRef | None = None
    pressure: ChannelRef | None = None
    temperature: ChannelRef | None = None
    valid_from: AwareDatetime | None = None
    valid_to: AwareDatetime | None = None
    ratio: Decimal = Field(default=Decimal(1), gt=0)

    @property
    def beside(self) -> dict[Beside, str]:
        """The channels that say more of what its own one counts, by what they tell."""
        told = {"power": self.power, "pressure": self.pressure, "temperature": self.temperature}
        return {name: channel for name in BESIDE if (channel := told[name]) is not None}

    @property
    def channels(self) -> tuple[str, ...]:
        """Every channel that it names, its own one first."""
        return (self.channel, *self.beside.values())


class _Heat(_Model):
    """A meter that counts mass and tells the heat in it: kJ/kg above `base_kj_per_kg` (83.74: water of 20 °C).

    `mass_unit` is that of the meter's `wrap`, `rated_per_hour` and `resolution`. A pressure or temperature is held until it
    is read again; after the meter's `max_gap_s` what follows from it is estimated, after `hold_s` it is unknown.
    """

    mass_unit: Literal["kg", "t"] = "t"
    base_kj_per_kg: Decimal = Field(default=Decimal("83.74"), ge=0, le=1000, decimal_places=6)
    hold_s: int = Field(default=3600, gt=0, le=86_400)


class Steam(_Heat):
    """Steam: superheated by pressure and temperature, wet by pressure and `dryness` (kg of vapour per kg), else saturated.

    `pressure` (MPa) and `temperature` (°C) are fixed values, where bindings name no channels for them.
    """

    pressure: Decimal | None = Field(default=None, ge=0, le=100, decimal_places=6)
    pressure_is: Literal["absolute", "gauge"] = "absolute"
    temperature: Decimal | None = Field(default=None, ge=0, le=800, decimal_places=3)
    dryness: Decimal | None = Field(default=None, gt=0, le=1, decimal_places=4)


class Condensate(_Heat):
    """Water that comes back: the heat of boiling water of its temperature, which a flow takes off steam (`m1 - m2`).

    `temperature` (°C) is a fixed value, where bindings name no channel for it.
    """

    temperature: Decimal | None = Field(default=None, gt=0, le=370, decimal_places=3)


class Meter(_Model):
    """A metering point; its amounts are in `unit`, whatever its channel counts in.

    `max_gap_s`: a longer pause between readings makes a counter's amount `recovered` and a gauge's middle missing.
    `wrap`: the register's modulus in the meter's unit. `rated_per_hour`: more than 1.2 times this is not believed.
    `resolution`: the steps in which a register moves, in the meter's unit, where they are so coarse (1 kWh, or 0.125 kWh
    of a float32 above 1 GWh) that time passes between them; the power of its bindings says how that time was used.
    `accuracy_class` is the limit of error in % of the reading (0.5S, 1, 2), or the class A, B or C of a billing meter.
    With `steam` or `condensate` its channel counts mass, and its amounts are the heat in it (`unit` GJ, MJ, kWh …).
    """

    id: Id
    name: Text
    unit: str
    bindings: tuple[Binding, ...] = Field(min_length=1)
    max_gap_s: int = Field(default=300, gt=0)
    wrap: Decimal | None = Field(default=None, gt=0)
    rated_per_hour: Decimal | None = Field(default=None, gt=0)
    resolution: Decimal | None = Field(default=None, ge=Decimal("0.000001"))
    accuracy_class: AccuracyClass | None = None
    steam: Steam | None = None
    condensate: Condensate | None = None

    @property
    def heat(self) -> Steam | Condensate | None:
        """What its mass is turned into heat by, if it is."""
        return self.steam or self.condensate

    @property
    def counts_in(self) -> str:
        """The unit of what its channels count, once converted: that of mass where its amounts are heat."""
        return self.unit if self.heat is None else self.heat.mass_unit

    @property
    def error_limit(self) -> Fraction | None:
        """The largest relative error within its accuracy class (EN 50470: A 2 %, B 1 %, C 0.5 %)."""
        if self.accuracy_class is None:
            return None
        percent = _BILLING_CLASSES.get(self.accuracy_class) or self.accuracy_class.removesuffix("S")
        return Fraction(percent) / 100

    @property
    def likely_error(self) -> Fraction:
        """`error_limit`, and where no class is declared that of class A, the widest for billing."""
        return UNDECLARED_LIMIT if self.error_limit is None else self.error_limit


PoolKind = Literal["conserving", "converting", "boiler", "compressor", "chp", "chiller", "heat_pump"]
ProductMethod = Literal["efficiency", "energy", "exergy"]


class Product(_Model):
    """One of several outputs of a converting pool. A flow names it with `product` and counts in its unit.

    `kwh_per_unit` is needed where the unit is no energy (kg of steam); `reference_efficiency` is that of making it
    alone (method efficiency); `supply_c` is the temperature of heat (method exergy): without it the product is work.
    """

    id: Id
    unit: str
    name: Text | None = None
    kwh_per_unit: Decimal | None = Field(default=None, gt=0)
    reference_efficiency: Decimal | None = Field(default=None, gt=0)
    supply_c: Decimal | None = Field(default=None, gt=-273)


class Pool(_Model):
    """A shared header with one output unit. `mix_window` auto: an hour if it converts or has a rest, else a bucket.

    A boiler, compressor, chiller or heat pump is a converting pool with checks of its own; so is a chp, with several
    `products` that share its inputs by output x weight: 1 / reference efficiency, energy, or exergy against `ambient_c`.
    `efficiency_max` is the most output energy per input energy that is believed where both are known.
    """

    id: Id
    name: Text
    unit: str
    kind: PoolKind = "conserving"
    mix_window: Literal["auto", "bucket", "hour"] = "auto"
    products: tuple[Product, ...] = ()
    method: ProductMethod | None = None
    ambient_c: Decimal = Field(default=Decimal(25), gt=-273)
    kwh_per_unit: Decimal | None = Field(default=None, gt=0)
    efficiency_max: Decimal | None = Field(default=None, gt=0)

    @property
    def converts(self) -> bool:
        return self.kind != "conserving"

    def product(self, name: str | None) -> Product | None:
        return next((product for product in self.products if product.id == name), None)


class Store(_Model):
    """A pool that remembers: battery, steam accumulator, tank. It gives out in an hour what it held at the hour's start.

    `fifo` gives the hour that came in first, `mixed` everything in proportion. `level` names a meter whose readings say
    what is in it (in `unit`, or % of `capacity`); what is less than the balance was lost. Without a level the store is
    empty at `empty_point`, a time of day with its offset (05:00+08:00), and what the balance still shows was lost;
    what is above `capacity` was lost too.
    """

    id: Id
    name: Text
    unit: str
    kind: Literal["fifo", "mixed"] = "fifo"
    level: Id | None = None
    capacity: Decimal | None = Field(default=None, gt=0)
    empty_point: time | None = None


class Flow(_Model):
    """An edge: source → pool, pool → pool, pool or source → work unit, or pool → export | unmetered | losses.

    `amount` is a sum of meters (`m1 + m2 - m3`, in the giver's output unit) or `rest`: what the giver has left, divided
    by `weight` when several flows take the rest. A store takes and gives like a pool, by meters only. `product` says
    which output of a pool with several it is. `recovery` marks heat that a work unit's pool hands back: it carries only
    what its own recovery uses (cut-off), or a share of the pool's inputs by energy or exergy.

    `driver` divides the rest among several takers by what runs behind each (time, or the jobs' mass, pieces or area x
    time), times `weight`. `disposition` of a flow to losses or unmetered: its giver's other takers carry it
    (consumers), it is spread over jobs like idle time (window), or it is exempted for a `reason` (outside); without
    one it stays on its account.
    """

    giver: Id = Field(alias="from")
    taker: Id = Field(alias="to")
    amount: Expression
    weight: int = Field(default=1, gt=0)
    product: Id | None = None
    recovery: Literal["cut-off", "energy", "exergy"] | None = None
    driver: Literal["fixed", "running_time", "mass", "pieces", "area"] = "fixed"
    disposition: Literal["consumers", "window", "outside"] | None = None
    reason: str = ""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Plant(_Model):
    """One site's model; `bucket_s` divides an hour and is the step in which flows are known.

    A job that lasts longer than `job_days_max` is taken for a mistake and kept out. A batch of which no output is reported
    is between two steps for `batch_rests_s_max` after its last job, then finished.
    """

    plantprint: Literal[1]
    site: Site
    bucket_s: int = Field(default=60, gt=0, le=3600)
    settle_after_s: int = Field(default=900, ge=0)
    job_days_max: int = Field(default=31, gt=0)
    batch_rests_s_max: int = Field(default=86_400, ge=0)
    effective_at: datetime | None = None
    idle: Idle | None = None
    steps: tuple[Step, ...] = ()
    work_centers: tuple[WorkCenter, ...] = Field(min_length=1)
    sources: tuple[Source, ...] = Field(min_length=1)
    meters: tuple[Meter, ...] = Field(min_length=1)
    pools: tuple[Pool, ...] = ()
    stores: tuple[Store, ...] = ()
    flows: tuple[Flow, ...] = Field(min_length=1)
    materials: tuple[Material, ...] = ()
    product_rules: Literal["iso-14067", "pact-v3"] = "iso-14067"
    market: Market | None = None
