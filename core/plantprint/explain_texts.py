"""The sentences of `explain` with their blanks, in English and Chinese, and how blanks are filled."""

from collections.abc import Mapping, Sequence

from plantprint.plant.model import Text

ACCOUNTS: Mapping[str, Text] = {
    "idle": Text(
        en="What {place} used while idle, on standby, in fault, off, or without a job.",
        zh="{place}在空闲、待机、故障、停机或没有作业时的用量。",
    ),
    "overhead": Text(
        en="Idle use of {place} that no job of its window could carry.",
        zh="{place}在分摊窗口内没有作业可承担的空闲用量。",
    ),
    "unassigned": Text(
        en="What {place} used while processing without a reported job.", zh="{place}在加工状态但未上报作业时的用量。"
    ),
    "conflict": Text(
        en="What {place} used while two jobs claimed an exclusive step.", zh="{place}被两个独占作业同时占用时的用量。"
    ),
    "export": Text(en="What left the site from {place}.", zh="从{place}外送的量。"),
    "losses": Text(
        en="Losses of {place}: what came out of it and reached no taker.", zh="{place}的损失：流出而未到达用户的量。"
    ),
    "unmetered": Text(en="What left {place} and no meter further on has seen.", zh="流出{place}而下游没有计量的量。"),
    "stock": Text(en="What came into {place} and has not gone out yet.", zh="已进入{place}而尚未流出的量。"),
}
FEED_METERED = Text(
    en="{taker} takes from {giver} what {meters} measured.", zh="{taker}取自{giver}的量按{meters}计量。"
)
FEED_REST = Text(
    en="{taker} takes {part} of what the meters leave of {giver}.", zh="{taker}取用{giver}计量后剩余量的{part}。"
)
ALL = Text(en="all", zh="全部")
DRIVERS: Mapping[str, Text] = {
    "running_time": Text(en="by the running time behind each taker", zh="按各流向的运行时间"),
    "processing_time": Text(en="by processing time", zh="按加工时间"),
    "mass": Text(en="by the mass of the jobs", zh="按作业质量"),
    "pieces": Text(en="by the pieces of the jobs", zh="按作业件数"),
    "area": Text(en="by the area of the jobs", zh="按作业面积"),
    "equal": Text(en="equally", zh="平均"),
}
RULES: Mapping[str, Text] = {
    "weight": Text(
        en="Jobs that run at once on {unit} share by their weight.", zh="{unit}上同时进行的作业按权重分摊。"
    ),
    "equal": Text(en="Jobs that run at once on {unit} share equally.", zh="{unit}上同时进行的作业平均分摊。"),
    "exclusive": Text(
        en="Only one job may run on {unit}; what two claim is on account conflict.",
        zh="{unit}只允许一个作业；两个作业同时占用的部分计入争议账户。",
    ),
}
STATES = Text(
    en="On {unit} setup counts for the next job and clean-down for the previous one of the same {window}.",
    zh="{unit}的准备（换型、预热）计入同一{window}的下一作业，清机计入上一作业。",
)
IDLE_APART = Text(en="What {unit} uses while idle stays on account idle.", zh="{unit}的空闲用量留在空闲账户。")
IDLE_SPREAD = Text(
    en="What {unit} uses while idle goes to the jobs of its {window} when that has ended, {driver}.",
    zh="{unit}的空闲用量在{window}结束后{driver}分摊给该{window}的作业。",
)
INFERRED = Text(
    en="Without a reported state {unit} counts as processing from {processing} kW on {meter}, as idle from {idle} kW.",
    zh="{unit}未上报状态时，按{meter}判断：功率达{processing} kW为加工，达{idle} kW为空闲。",
)
PERIODS: Mapping[str, Text] = {
    "hour": Text(en="hour", zh="小时"),
    "shift": Text(en="shift", zh="班次"),
    "day": Text(en="day", zh="日"),
    "week": Text(en="week", zh="周"),
}
HOURLY = Text(en="hour by hour", zh="每小时")
POOL = Text(
    en="What comes into {pool} ({into}) is divided {window} over all that goes out, in proportion to the {unit} that went.",
    zh="进入{pool}的量（{into}）{window}按各流出的{unit}数比例分配。",
)
HEAT = Text(en=", heat of its mass above {base} kJ/kg", zh="，按质量折算的热量，基准{base} kJ/kg")
INFLOW = Text(en="{giver} by {meters}", zh="{giver}按{meters}")
CONVERTS = Text(
    en="{pool} converts: what it loses on the way is carried by its output.",
    zh="{pool}为转换环节，转换损失由其产出承担。",
)
PRODUCTS = Text(
    en="The products of {pool} share its inputs by {method}: a unit weighs {weights}.",
    zh="{pool}的各产品按{method}分摊其投入，单位权重为{weights}。",
)
CUT_OFF = Text(
    en="Heat recovered from {pool} ({products}) carries only what its own recovery uses (cut-off).",
    zh="从{pool}回收的热（{products}）只承担回收本身的能耗（截断法）。",
)
METHODS: Mapping[str, Text] = {
    "efficiency": Text(en="efficiency of making each alone", zh="分产效率"),
    "energy": Text(en="energy", zh="能量"),
    "exergy": Text(en="exergy", zh="㶲"),
}
EXPORT = Text(
    en="Export ({meters}) is taken first from on-site generation ({sources}) of the window.",
    zh="外送（{meters}）优先由同一时段的现场发电（{sources}）抵充。",
)
NONE = Text(en="none", zh="无")
RESIDUALS: Mapping[tuple[str, bool], Text] = {
    ("unmetered", True): Text(
        en="What the meters leave of {pool} over the hour is unmetered{end}.",
        zh="{pool}每小时计量后的剩余量为未计量{end}。",
    ),
    ("unmetered", False): Text(en="{meters} is unmetered at {pool}{end}.", zh="{pool}的未计量为{meters}{end}。"),
    ("losses", True): Text(
        en="What the meters leave of {pool} over the hour is lost{end}.", zh="{pool}每小时计量后的剩余量为损失{end}。"
    ),
    ("losses", False): Text(en="{meters} is lost by {pool}{end}.", zh="{pool}的损失为{meters}{end}。"),
}
DISPOSITIONS: Mapping[str, Text] = {
    "": Text(en=" and stays on its account", zh="，留在该账户"),
    "consumers": Text(en=" and is carried by the other takers", zh="，由其他流向承担"),
    "window": Text(en=" and is spread over jobs like idle time", zh="，如空闲用量一样分摊给作业"),
    "outside": Text(en=" and is exempted: {reason}", zh="，予以排除：{reason}"),
}
STORES: Mapping[str, Text] = {
    "fifo": Text(
        en="{store} gives out in an hour what it held at its start, the oldest hour first.",
        zh="{store}每小时放出该小时开始时的存量，先进先出。",
    ),
    "mixed": Text(
        en="{store} gives out in an hour what it held at its start, all of it in proportion.",
        zh="{store}每小时放出该小时开始时的存量，按比例混合。",
    ),
}
LEVEL = Text(
    en="Its level is metered by {meter}; what is less than the balance was lost.",
    zh="其存量由{meter}计量，低于平衡的部分为损失。",
)
CYCLE = Text(
    en="{pools} feed each other: their inflow is divided once over what leaves them, by the exact solution.",
    zh="{pools}互相供给：其流入按精确解一次分配给离开它们的各流出。",
)
OPEN_STEP = Text(en="the open hour", zh="未结算小时")
CHANGE = Text(
    en="The footprint went from {before} to {after} kg CO2e ({change}).",
    zh="碳足迹由{before}变为{after} kg CO2e（{change}）。",
)
EFFECT = Text(en="{change} kg CO2e: {source} in {step}, {cause}.", zh="{change} kg CO2e：{step}的{source}，{cause}。")
CAUSES: Mapping[str, Text] = {
    "activity": Text(en="because another amount was used", zh="用量变化所致"),
    "mix": Text(en="because its part of the mix changed", zh="能源结构变化所致"),
    "factor": Text(en="because its emission factor changed", zh="排放因子变化所致"),
}


def both(text: Text) -> Text:
    """A name in both languages; English where there is no Chinese."""
    return Text(en=text.en, zh=text.zh or text.en)


def same(text: object) -> Text:
    """A number, a unit or an id, which is the same in every language."""
    return Text(en=str(text), zh=str(text))


def joined(texts: Sequence[Text]) -> Text:
    return Text(en=", ".join(text.en for text in texts), zh="、".join(text.zh for text in texts))


def fill(template: Text, **words: Text) -> Text:
    return Text(
        en=template.en.format(**{name: text.en for name, text in words.items()}),
        zh=template.zh.format(**{name: text.zh for name, text in words.items()}),
    )
