"""Checks of converters, recovered heat and stores in a plant file."""

from collections.abc import Iterator

from plantprint.converters import energy_content, method_of, product_weights
from plantprint.plant.model import RESERVED_NODES, Flow, Plant, Pool, Store
from plantprint.plant.nodes import ModelIssue, Nodes, error, warning


def dead_end(pool: str, nodes: Nodes) -> str:
    """Why something never gets out of a pool, in words of the plant."""
    downstream = sorted(nodes.downstream(pool))
    if not downstream:
        return ": no flow starts there"
    names = " and ".join(repr(node) for node in downstream if node != pool)
    if pool in downstream:
        return f": it goes round between it and {names} (it only flows in a circle)"
    return f": it only comes to {names}, and from there nowhere"


def check_product(path: str, flow: Flow, nodes: Nodes) -> Iterator[ModelIssue]:
    pool = nodes.pools.get(flow.giver)
    if flow.disposition is not None and flow.giver in nodes.stores:
        message = f"what store {flow.giver!r} loses stays on its account"
        yield error(
            f"{path}.disposition", message, "leave the disposition out, or let the store flow into a pool first"
        )
    if flow.recovery is not None and (pool is None or not pool.converts):
        message = f"heat is recovered from a converting pool, and {flow.giver!r} is none"
        yield error(f"{path}.recovery", message, "put a converting pool before the work unit that hands heat back")
    if pool is None or not pool.products:
        if flow.product is not None:
            remedy = "declare it under the pool's products, or leave it out"
            yield error(f"{path}.product", f"{flow.giver!r} has no product {flow.product!r}", remedy)
    elif pool.product(flow.product) is None:
        known = ", ".join(product.id for product in pool.products)
        message = f"{flow.giver!r} has the products {known}, and this flow names none of them"
        yield error(f"{path}.product", message, "name the one that flows here")


# What comes out of a converter of one product, by dimension of its unit as far as it has one.
_UNITS_OUT = {
    "boiler": ("kg", "t", "kWh", "MWh", "MJ", "GJ"),
    "compressor": ("m3", "Nm3"),
    "chiller": ("kWh", "MWh", "MJ", "GJ"),
    "heat_pump": ("kWh", "MWh", "MJ", "GJ"),
}


def check_products(path: str, pool: Pool, plant: Plant) -> Iterator[ModelIssue]:
    if pool.products and not pool.converts:
        message = f"pool {pool.id!r} passes on what it gets, so it has no products"
        yield error(f"{path}.products", message, "make it a converting pool, or leave them out")
        return
    names = [product.id for product in pool.products]
    if len(set(names)) < len(names):
        yield error(f"{path}.products", f"pool {pool.id!r} has a product twice", "give one of them another id")
    if pool.kind == "chp" and len(pool.products) < 2:
        message = f"combined heat and power {pool.id!r} has fewer than two products"
        yield error(f"{path}.products", message, "declare electricity and heat, each with its unit")
    units = _UNITS_OUT.get(pool.kind, ())
    if units and pool.products:
        yield error(f"{path}.products", f"a {pool.kind} has one product", "make it a chp or a converting pool")
    elif units and pool.unit not in units:
        message = f"a {pool.kind} gives {', '.join(units)}, not {pool.unit}"
        yield warning(f"{path}.unit", message, "use one of these, or make it a converting pool")
    yield from _check_method(path, pool, plant)


def _check_method(path: str, pool: Pool, plant: Plant) -> Iterator[ModelIssue]:
    flows = [flow for flow in plant.flows if flow.giver == pool.id]
    chosen = {flow.recovery for flow in flows} - {None, "cut-off"} | ({pool.method} - {None})
    if len(chosen) > 1:
        message = f"pool {pool.id!r} is divided by {' and '.join(sorted(map(str, chosen)))} at once"
        yield error(path, message, "choose one")
    method = method_of(pool, flows)
    carrying = {flow.product for flow in flows if flow.recovery != "cut-off"}
    if method is None:
        if len(pool.products) > 1 and len(carrying) > 1:
            message = f"pool {pool.id!r} has several products and no method that divides its inputs among them"
            remedy = "set method: efficiency (with reference_efficiency), energy, or exergy (with supply_c)"
            yield error(path, message, remedy)
        return
    if len(pool.products) < 2:
        message = f"pool {pool.id!r} has a method but not several products"
        yield error(path, message, "declare its products, or leave the method out")
        return
    try:
        weights = product_weights(pool, method)
    except ValueError as wrong:
        remedy = "give it kwh_per_unit, reference_efficiency or another method"
        yield error(f"{path}.products", f"method {method} of {pool.id!r}: {wrong}", remedy)
        return
    for product, weight in weights.items():
        if not weight:
            message = f"product {product!r} of {pool.id!r} is no warmer than its surroundings, so it carries nothing"
            yield warning(f"{path}.products", message, "correct supply_c or ambient_c, or use another method")


def check_store(path: str, store: Store, nodes: Nodes) -> Iterator[ModelIssue]:
    flows = nodes.plant.flows
    if not any(flow.taker == store.id for flow in flows):
        yield error(path, f"nothing flows into store {store.id!r}", "add the flow that charges it, or leave it out")
    if not nodes.downstream(store.id) & (nodes.work_units.keys() | set(RESERVED_NODES)):
        message = f"nothing that store {store.id!r} holds can ever flow out{dead_end(store.id, nodes)}"
        yield error(path, message, "add a flow from it to where it is used")
    if store.empty_point is not None and store.empty_point.tzinfo is None:
        yield error(f"{path}.empty_point", "the time has no offset", "write it as 05:00+08:00")
    if store.level is None:
        if store.empty_point is None and store.capacity is None:
            message = f"losses of store {store.id!r} cannot be known: it has no level, empty_point or capacity"
            yield warning(path, message, "name its level meter, or a time at which it is always empty")
        return
    yield from _check_level(path, store, store.level, nodes)


def _check_level(path: str, store: Store, level: str, nodes: Nodes) -> Iterator[ModelIssue]:
    meter = nodes.meters.get(level)
    if meter is None:
        yield error(f"{path}.level", f"there is no meter {level!r}", "declare it, or correct the id")
    elif meter.unit != store.unit:
        remedy = f"set the unit of the meter to {store.unit}; its channel may tell any unit that converts, or %"
        yield error(f"{path}.level", f"meter {meter.id!r} tells {meter.unit}, not {store.unit}", remedy)
    if store.empty_point is not None:
        yield warning(f"{path}.empty_point", "the level meter says when it is empty", "leave one of the two out")
    if any(level in flow.amount.split() for flow in nodes.plant.flows):
        message = f"meter {level!r} tells a level, so it is no flow"
        yield error(f"{path}.level", message, "use another meter for the flow")
    if sum(other.level == level for other in nodes.plant.stores) > 1:
        yield error(f"{path}.level", f"meter {level!r} is the level of two stores", "give each its own")


def check_recovery_rest(path: str, flow: Flow, pool: Pool, nodes: Nodes) -> Iterator[ModelIssue]:
    """The rest of a pool from which heat is recovered by a share is the energy that is left: all of it must be known."""
    product = pool.product(flow.product)
    known = {source.id: energy_content(source.unit, source.kwh_per_unit) for source in nodes.plant.sources}
    known |= {name: energy_content(node.unit, node.kwh_per_unit) for name, node in nodes.pools.items()}
    known |= {store: energy_content(node.unit, None) for store, node in nodes.stores.items()}
    unknown = sorted(f.giver for f in nodes.plant.flows if f.taker == pool.id and known.get(f.giver) is None)
    if product is not None and energy_content(product.unit, product.kwh_per_unit) is None:
        unknown.append(f"product {product.id}")
    if unknown:
        message = (
            f"the rest of {pool.id!r} is the energy that recovery leaves, but that of {', '.join(unknown)} is unknown"
        )
        yield error(f"{path}.amount", message, "give it kwh_per_unit, or measure this flow")


def check_wraps(plant: Plant) -> Iterator[ModelIssue]:
    """A modulus is told in the meter's unit, so it is another value of the register under another ratio."""
    for m, meter in enumerate(plant.meters):
        ratios = sorted({binding.ratio for binding in meter.bindings})
        if meter.wrap is None or len(ratios) < 2:
            continue
        ends = " and ".join(f"{meter.wrap / ratio:f}" for ratio in ratios)
        told = " and ".join(f"{ratio:f}" for ratio in ratios)
        message = f"wrap {meter.wrap} {meter.unit} under the ratios {told} says that the register ends at {ends}"
        remedy = "give each ratio a version of the plant of its own (effective_at) with its wrap, or a meter of its own"
        yield warning(f"meters.{m}.wrap", message, remedy)
