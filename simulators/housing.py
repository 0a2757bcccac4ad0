"""Houses and their prices: labelled data whose best possible predictions are known.

A house has 79 features, named as those of the Ames data (De Cock 2011, J. Stat. Educ. 19(3)) and
with codes like theirs, and a city. Their distributions are made up; no house of Ames is among them.
Each feature is a step function of a standard normal number. Some are independent and make the
price,

    price = mean + sd (sqrt(R^2) I + sqrt(1 - R^2) e),   I = sum_j c_j s_j,   e ~ N(0, 1),

where s_j is a number, the rank of an ordered category or the effect of another category, in
standard units of its exact distribution, and sum_j c_j^2 = 1. So I, the index, has mean 0 and
variance 1, and R^2 is the share of the price's variance that any model can explain. The other
features are correlated with those, follow from them (total areas, years, what a house without a
garage has not), or stand alone; given all features, none of them tells more about the price.

As the sum of many independent parts, I is close to normal. A house is premium if its price is above
the threshold that a share p exceeds. No ranking puts more premium houses before others than that by
the index, which does so with probability

    AUC = E[g(I) (1 - g(J)) 1(J < I)] / (p (1 - p)),   g(I) = P(premium | I),

for independent I and J. If they are normal, g(I) = Phi((sqrt(R^2) I - z) / sqrt(1 - R^2)) with z
the (1 - p)-quantile of N(0, 1), and at p = 1/5

    R^2   .01   .1    .3    .5    .7    .8    .9    .95
    AUC   .549  .656  .772  .853  .918  .947  .975  .988
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import cumulative_trapezoid, trapezoid
from scipy.special import ndtr, ndtri

from sbi_kit.checks import (
    BadType,
    BadValue,
    expect_array,
    expect_features,
    expect_finite,
    expect_integer,
    expect_number,
    expect_rng,
)
from sbi_kit.contracts import Array, IntArray
from sbi_kit.seeds import numpy_stream

_TAIL = 6.0  # standard deviations of an area beyond which its last level reaches


@dataclass(frozen=True, eq=False)
class _Feature:
    """A step function of a normal number z, and what it has to do with the price.

    Level k is taken for z between edges k - 1 and k. Text is a category, ordered if `ordered`.
    """

    levels: NDArray[Any]
    edges: Array
    weight: float = 0.0
    ordered: bool = False
    like: str = ""
    correlation: float = 0.0

    @property
    def is_text(self) -> bool:
        return bool(self.levels.dtype.kind == "U")

    @property
    def categories(self) -> "pd.CategoricalDtype[str]":
        """How a frame holds text."""
        return pd.CategoricalDtype(self.levels.tolist(), ordered=self.ordered)

    @property
    def shares(self) -> Array:
        """Probability of each level."""
        shares: Array = np.diff(ndtr(self.edges), prepend=0.0, append=1.0)
        return shares

    def codes(self, z: Array) -> IntArray:
        """The place of the level of each z."""
        return np.searchsorted(self.edges, z).astype(np.int64)


def _levels(
    text: str, weight: float = 0.0, *, like: str = "", correlation: float = 0.0
) -> _Feature:
    """Levels with their shares in percent, such as "No 60 Yes 40", as categories or numbers.

    With "<" for the first word they are in ascending order.
    """
    words = text.split()
    ordered = words[0] == "<"
    names, percent = words[ordered::2], np.array(words[ordered + 1 :: 2], dtype=np.float64)
    numbers = all(name.isdecimal() for name in names)
    levels = np.array([float(name) for name in names] if numbers else names)
    edges = ndtri(np.cumsum(percent)[:-1] / percent.sum())
    return _Feature(levels, edges, weight, ordered, like, correlation)


def _whole(
    mean: float,
    sd: float,
    weight: float = 0.0,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    none: float | None = None,
    like: str = "",
    correlation: float = 0.0,
) -> _Feature:
    """Whole numbers next to mean + sd z, not outside low..high; 0 in a share `none`."""
    low, high = max(low, np.floor(mean - _TAIL * sd)), min(high, np.ceil(mean + _TAIL * sd))
    levels = np.arange(low, high + 1, dtype=np.float64)
    edges = (levels[:-1] + 0.5 - mean) / sd
    if none is not None:
        start = ndtri(none)
        first = int(np.searchsorted(edges, start))
        levels, edges = np.r_[0.0, levels[first:]], np.r_[start, edges[first:]]
    return _Feature(levels, edges, weight, True, like, correlation)


_SUM = _whole(0, 1)  # in place of a feature of _TOTALS
_CONDITIONS = "Norm 86 Feedr 5 Artery 3 RRAn 2 PosN 1 RRAe 1 PosA 1 RRNn .5 RRNe .5"
_SIDING = (
    "VinylSd 36 HdBoard 15 MetalSd 15 WdSdng 14 Plywood 8 CemntBd 4 BrkFace 3 WdShing 2 Stucco 2 "
    "AsbShng 1"
)
_FINISH = "< Absent 0 Unf 0 LwQ 8 Rec 16 BLQ 16 ALQ 24 GLQ 36"
_NEIGHBORHOODS = (
    "NAmes 14 CollgCr 10 OldTown 8 Edwards 7 Somerst 7 NridgHt 6 Gilbert 6 Sawyer 5 NWAmes 5 "
    "SawyerW 5 Mitchel 4 BrkSide 4 Crawfor 4 IDOTRR 3 Timber 3 NoRidge 2 StoneBr 2 SWISU 1 "
    "ClearCr 1 MeadowV 1 BrDale 1 Blmngtn .5 Veenker .3 NPkVill .1 Blueste .1"
)

# In the order of the Ames data. A weight is the sd in the price relative to that of the others.
_FEATURES: dict[str, _Feature] = {
    "MSSubClass": _levels("20 0 50 20 60 45 70 10 80 5 120 10 160 8 190 2"),
    "MSZoning": _levels("RL 76 RM 16 FV 5 RH 2 C 1", 0.7),
    "LotFrontage": _whole(70, 20, 0.5, low=20),
    "LotArea": _whole(10_000, 3_000, 1.5, low=1_500),
    "Street": _levels("< Grvl 1 Pave 99"),
    "Alley": _levels("Absent 93 Grvl 4 Pave 3"),
    "LotShape": _levels("< Reg 63 IR1 33 IR2 3 IR3 1", 0.4),
    "LandContour": _levels("Lvl 88 HLS 5 Bnk 4 Low 3", 0.4),
    "Utilities": _levels("< NoSeWa 1 AllPub 99"),
    "LotConfig": _levels("Inside 72 Corner 18 CulDSac 6 FR2 3 FR3 1", 0.4),
    "LandSlope": _levels("< Gtl 94 Mod 5 Sev 1"),
    "Neighborhood": _levels(_NEIGHBORHOODS, 2.5),
    "Condition1": _levels(_CONDITIONS, 0.5),
    "Condition2": _levels(_CONDITIONS.replace("86", "990")),
    "BldgType": _levels("1Fam 82 TwnhsE 8 Duplex 4 Twnhs 4 2fmCon 2", 0.7),
    "HouseStyle": _levels("1Story 0 2Story 70 1.5Fin 20 2.5Unf 4 SLvl 4 2.5Fin 2"),
    "OverallQual": _whole(6.0, 1.4, 3.0, low=1, high=10),
    "OverallCond": _whole(5.6, 1.1, 1.0, low=1, high=10),
    "YearBuilt": _whole(1_972, 28, 2.0, low=1_875, high=2_006),
    "YearRemodAdd": _whole(1_985, 20, low=1_950, high=2_006, like="YearBuilt", correlation=0.6),
    "RoofStyle": _levels("Gable 78 Hip 18 Flat 2 Gambrel 1 Mansard 1", 0.3),
    "RoofMatl": _levels("CompShg 98 TarGrv 1 WdShngl 1"),
    "Exterior1st": _levels(_SIDING, 0.6),
    "Exterior2nd": _levels(_SIDING, like="Exterior1st", correlation=0.99),
    "MasVnrType": _levels("Absent 0 BrkFace 76 Stone 21 BrkCmn 3"),
    "MasVnrArea": _whole(0, 250, 0.8, none=0.6),
    "ExterQual": _levels("< Fa 2 TA 60 Gd 33 Ex 5", like="OverallQual", correlation=0.8),
    "ExterCond": _levels("< Po 1 Fa 3 TA 86 Gd 9 Ex 1", like="OverallCond", correlation=0.5),
    "Foundation": _levels("PConc 44 CBlock 43 BrkTil 10 Slab 2 Stone 1", 0.6),
    "BsmtQual": _levels("< Absent 0 Fa 3 TA 45 Gd 43 Ex 9", like="YearBuilt", correlation=0.8),
    "BsmtCond": _levels("< Absent 0 Po 1 Fa 4 TA 90 Gd 5", like="OverallCond", correlation=0.4),
    "BsmtExposure": _levels("< Absent 0 No 66 Mn 8 Av 16 Gd 10"),
    "BsmtFinType1": _levels(_FINISH, like="OverallQual", correlation=0.4),
    "BsmtFinSF1": _whole(350, 400, 1.5, none=0.3),
    "BsmtFinType2": _levels(_FINISH),
    "BsmtFinSF2": _whole(-400, 600, none=0.88),
    "BsmtUnfSF": _whole(600, 400, 1.0, none=0.08),
    "TotalBsmtSF": _SUM,
    "Heating": _levels("GasA 97 GasW 2 Wall 1"),
    "HeatingQC": _levels("< Po 1 Fa 3 TA 30 Gd 16 Ex 50", 0.6),
    "CentralAir": _levels("< N 7 Y 93", 0.6),
    "Electrical": _levels("< FuseP 1 FuseF 2 FuseA 6 SBrkr 91", like="YearBuilt", correlation=0.7),
    "1stFlrSF": _whole(1_150, 330, 2.5, low=350),
    "2ndFlrSF": _whole(250, 480, 1.5, none=0.57),
    "LowQualFinSF": _whole(-900, 500, none=0.985),
    "GrLivArea": _SUM,
    "BsmtFullBath": _levels("0 57 1 41 2 2", 0.6),
    "BsmtHalfBath": _levels("0 94 1 6"),
    "FullBath": _levels("0 1 1 44 2 52 3 3", 1.0),
    "HalfBath": _levels("0 61 1 38 2 1", 0.7),
    "BedroomAbvGr": _levels("1 4 2 24 3 55 4 14 5 3", like="1stFlrSF", correlation=0.5),
    "KitchenAbvGr": _levels("1 95 2 5", -0.4),
    "KitchenQual": _levels("< Fa 3 TA 50 Gd 40 Ex 7", like="OverallQual", correlation=0.75),
    "TotRmsAbvGrd": _whole(6.4, 1.5, low=2, high=14, like="1stFlrSF", correlation=0.6),
    "Functional": _levels("< Sev 1 Maj2 1 Maj1 1 Mod 2 Min2 3 Min1 2 Typ 90", 0.5),
    "Fireplaces": _levels("0 48 1 44 2 7 3 1", 1.0),
    "FireplaceQu": _levels("< Absent 0 Po 3 Fa 5 TA 41 Gd 48 Ex 3"),
    "GarageType": _levels("Absent 0 Attchd 62 Detchd 28 BuiltIn 7 Basment 2 CarPort 1"),
    "GarageYrBlt": _whole(1_976, 26, low=1_900, high=2_006, like="YearBuilt", correlation=0.85),
    "GarageFinish": _levels("< Absent 0 Unf 44 RFn 30 Fin 26", like="YearBuilt", correlation=0.6),
    "GarageCars": _levels("0 5 1 27 2 54 3 13 4 1", 1.5),
    "GarageArea": _whole(490, 190, low=160, none=0.0, like="GarageCars", correlation=0.9),
    "GarageQual": _levels("< Absent 0 Po 1 Fa 4 TA 94 Gd 1"),
    "GarageCond": _levels("< Absent 0 Po 1 Fa 3 TA 95 Gd 1"),
    "PavedDrive": _levels("< N 7 P 2 Y 91", 0.3),
    "WoodDeckSF": _whole(20, 200, 0.6, none=0.52),
    "OpenPorchSF": _whole(25, 80, 0.5, none=0.44),
    "EnclosedPorch": _whole(-130, 220, none=0.84),
    "3SsnPorch": _whole(-400, 300, none=0.985),
    "ScreenPorch": _whole(-150, 230, 0.3, none=0.9),
    "PoolArea": _whole(-1_600, 900, none=0.995),
    "PoolQC": _levels("< Absent 0 Fa 30 TA 20 Gd 30 Ex 20"),
    "Fence": _levels("Absent 80 MnPrv 11 GdPrv 4 GdWo 4 MnWw 1", 0.3),
    "MiscFeature": _levels("Absent 0 Shed 93 Gar2 5 Othr 2"),
    "MiscVal": _whole(-2_000, 1_300, none=0.965),
    "MoSold": _levels("1 4 2 5 3 8 4 10 5 14 6 16 7 15 8 8 9 6 10 6 11 5 12 3", 0.2),
    "YrSold": _levels("2006 21 2007 23 2008 21 2009 22 2010 13", -0.2),
    "SaleType": _levels("WD 87 New 8 COD 3 Con 1 Oth 1", 0.5),
    "SaleCondition": _levels("Normal 82 Partial 8 Abnorml 7 Family 2 Alloca 1", 0.6),
}
_CITY_WEIGHT = 2.0
_TOTALS = {
    "TotalBsmtSF": ("BsmtFinSF1", "BsmtFinSF2", "BsmtUnfSF"),
    "GrLivArea": ("1stFlrSF", "2ndFlrSF", "LowQualFinSF"),
}
# Where a house has 0 of the first, the others are at their level of this number.
_WHERE_NONE: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("2ndFlrSF", 0, ("MSSubClass", "HouseStyle")),
    ("MasVnrArea", 0, ("MasVnrType",)),
    ("BsmtFinSF1", 1, ("BsmtFinType1",)),
    ("BsmtFinSF2", 1, ("BsmtFinType2",)),
    ("TotalBsmtSF", 0, ("BsmtQual", "BsmtCond", "BsmtExposure", "BsmtFinType1", "BsmtFinType2")),
    ("Fireplaces", 0, ("FireplaceQu",)),
    ("GarageCars", 0, ("GarageType", "GarageFinish", "GarageArea", "GarageQual", "GarageCond")),
    ("PoolArea", 0, ("PoolQC",)),
    ("MiscVal", 0, ("MiscFeature",)),
)


@dataclass(frozen=True, kw_only=True)
class Housing:
    """Labelled data of houses: features as in the Ames data and a city, target SalePrice.

    Numbers are float64 [years, square feet, US dollars or counts], and the rest is categorical,
    ordered from the worst for a quality; MSSubClass is a code. What a house has not is "Absent", a
    category of its own, and not missing. Prices need not be whole.

    Whether a house is premium depends on a threshold, which belongs to whoever trains: take
    `premium_threshold` of the training prices and label all prices with `premium`.

    Args:
        r_squared: Share R^2 of the price's variance that the features explain, from 0 to 1.
        missing_share: Probability of each value of a feature to be missing, whatever it is and
            whatever else is missing, from 0 to 1. The same rng gives the same houses with any.
        cities: Names of the cities, at least 2, all equally frequent.
        premium_share: Share of the houses that are premium, above 0 and at most 0.5.
        price_mean: Mean price [$], above 0.
        price_sd: Standard deviation of the price [$], above 0 and at most a sixth of the mean, so
            that normal prices are negative less often than once in 10^9.
        coefficients_seed: Seed of the coefficients c_j and of the effects of categories.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is of another kind.

    >>> model = Housing(r_squared=0.8, missing_share=0.0)
    >>> frame = model.generate(20_000, np.random.default_rng(0))
    >>> round(float(np.corrcoef(model.index(frame), frame["SalePrice"])[0, 1] ** 2), 2)
    0.8
    >>> round(model.best_auc, 3)
    0.947
    """

    r_squared: float = 0.8
    missing_share: float = 0.05
    cities: tuple[str, ...] = ("Ames", "Ankeny", "Boone", "Marshalltown")
    premium_share: float = 0.2
    price_mean: float = 200_000.0
    price_sd: float = 30_000.0
    coefficients_seed: int = 0

    def __post_init__(self) -> None:
        expect_number("r_squared", self.r_squared, low=0, high=1)
        expect_number("missing_share", self.missing_share, low=0, high=1)
        expect_number("premium_share", self.premium_share, low=0, high=0.5, open_low=True)
        mean = expect_number("price_mean", self.price_mean, low=0, open_low=True)
        expect_number("price_sd", self.price_sd, low=0, high=mean / 6, open_low=True)
        expect_integer("coefficients_seed", self.coefficients_seed, low=0)
        names = self.cities
        fine = isinstance(names, (tuple, list)) and all(isinstance(c, str) and c for c in names)
        if not fine or len(set(names)) < max(2, len(names)):
            wanted = "cities as a tuple of at least 2 distinct names"
            raise BadType(wanted, repr(names), "name each city once")
        object.__setattr__(self, "cities", tuple(names))

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The 79 names of the Ames data and City."""
        return tuple(self._features)

    @property
    def targets(self) -> tuple[str, ...]:
        """The price."""
        return ("SalePrice",)

    @cached_property
    def _features(self) -> dict[str, _Feature]:
        levels = len(self.cities)
        edges = ndtri(np.arange(1, levels) / levels)
        return {**_FEATURES, "City": _Feature(np.array(self.cities), edges, _CITY_WEIGHT)}

    @cached_property
    def coefficients(self) -> Mapping[str, float]:
        """The c_j of the features that make the price; their squares sum to 1.

        Each is the feature's standard deviation in the index, negative if the index falls with it.
        The coefficients of all other features are 0.
        """
        rng = numpy_stream(self.coefficients_seed, "housing: coefficients")
        known = {name: feature.weight for name, feature in self._features.items()}
        drawn = {name: weight * rng.uniform(0.5, 1.5) for name, weight in known.items() if weight}
        norm = np.sqrt(sum(value**2 for value in drawn.values()))
        return {name: float(value / norm) for name, value in drawn.items()}

    @cached_property
    def _parts(self) -> dict[str, Array]:
        """What each level of a feature adds to the index, c_j s_j."""
        rng = numpy_stream(self.coefficients_seed, "housing: effects")
        parts = {}
        for name, coefficient in self.coefficients.items():
            feature = self._features[name]
            score = feature.levels if not feature.is_text else np.arange(len(feature.levels))
            if feature.is_text and not feature.ordered:
                score = rng.permutation(score)
            centred = score - feature.shares @ score
            parts[name] = coefficient * centred / np.sqrt(feature.shares @ centred**2)
        return parts

    def generate(self, rows: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw houses.

        Args:
            rows: How many, at least 1.
            rng: Source of all randomness.

        Returns:
            Features, some missing, and prices.

        Raises:
            BadType, BadValue: `rows` is no such number.
        """
        b = expect_integer("rows", rows, low=1)
        frame = pd.DataFrame(self._houses(b, expect_rng(rng)))
        noise = rng.standard_normal(b)
        scale = np.sqrt([self.r_squared, 1 - self.r_squared])
        price = self.price_mean + self.price_sd * (scale[0] * self.index(frame) + scale[1] * noise)
        # Last, so that the share of missing values changes no other number.
        if self.missing_share:
            for name in self.features:
                frame[name] = frame[name].mask(rng.random(b) < self.missing_share)
        frame[self.targets[0]] = price
        return frame

    def _houses(self, b: int, rng: np.random.Generator) -> dict[str, Any]:
        """The features of b houses by name, none missing."""
        codes: dict[str, IntArray] = {}
        parents: dict[str, Array] = {}
        likes = {feature.like for feature in self._features.values()}
        for name, feature in self._features.items():
            z = rng.standard_normal(b)
            if feature.like:
                z *= np.sqrt(1 - feature.correlation**2)
                z += feature.correlation * parents[feature.like]
            if name in likes:
                parents[name] = z
            codes[name] = feature.codes(z)
        values = {k: f.levels[codes[k]] for k, f in self._features.items() if not f.is_text}
        for total, terms in _TOTALS.items():
            values[total] = sum((values[term] for term in terms), start=np.zeros(b))
        for later in ("YearRemodAdd", "GarageYrBlt"):
            values[later] = np.maximum(values[later], values["YearBuilt"])
        for owner, level, names in _WHERE_NONE:
            none = values[owner] == 0
            for name in names:
                codes[name][none] = level
                if name in values:
                    values[name][none] = self._features[name].levels[level]
        return {
            name: pd.Categorical.from_codes(codes[name], dtype=feature.categories)
            if feature.is_text
            else values[name]
            for name, feature in self._features.items()
        }

    def index(self, frame: pd.DataFrame) -> Array:
        """The index I of each house: all that its features tell about its price.

        Args:
            frame: The features without missing values, also as read from a CSV file; further
                columns are ignored.

        Returns:
            Indices, shape (rows,), of mean 0 and variance 1 over all houses.

        Raises:
            BadType, BadValue: A column is absent, or a value missing, a text that is unknown or no
                finite number; the message names it.
        """
        expect_features(frame, self._parts)
        index = np.zeros(len(frame))
        for name, part in self._parts.items():
            levels = self._features[name].levels
            if frame[name].isna().any():
                got = f"{int(frame[name].isna().sum())} missing in {name!r}"
                do = "generate the same rows with missing_share=0"
                raise BadValue("a frame without missing values", got, do)
            if self._features[name].is_text:
                codes = pd.Index(levels.tolist()).get_indexer(frame[name].astype(str).to_numpy())
                if (codes < 0).any():
                    got = repr(frame[name].iloc[int(np.argmin(codes))])
                    raise BadValue(f"{name} among {', '.join(levels)}", got, "correct it")
                index += part[codes]
            else:
                slope = (part[-1] - part[0]) / (levels[-1] - levels[0])
                do = "pass finite numbers"
                values = expect_array(name, frame[name].to_numpy(), ("rows",), do=do)
                expect_finite(name, values[:, None], [name], do=do)
                index += part[0] + slope * (values - levels[0])
        return index

    def premium_threshold(self, prices: ArrayLike) -> float:
        """The price that a share `premium_share` of `prices` exceeds.

        Raises:
            BadValue, BadType: There is no price, or one is no finite number.
        """
        known = _expect_prices(prices)
        if len(known) == 0:
            raise BadValue(
                "prices to set a threshold by", "none", "pass those of the training rows"
            )
        return float(np.quantile(known, 1 - self.premium_share))

    def premium(self, prices: ArrayLike, threshold: float) -> IntArray:
        """Whether each price is above a threshold, as 0 or 1.

        Raises:
            BadValue, BadType: A price is no finite number.
        """
        return (_expect_prices(prices) > threshold).astype(np.int64)

    @property
    def best_auc(self) -> float:
        """The AUC of the index for premium houses, if the index were exactly normal.

        By what its skewness changes, the true one is within 0.001 of it for the coefficients of
        seed 0, and within 0.005 for others.
        """
        if self.r_squared == 1:
            return 1.0
        index, density, premium = self._population()
        lower = cumulative_trapezoid(density * (1 - premium), index, initial=0)
        pairs = trapezoid(density * premium * lower, index)
        return float(pairs / (self.premium_share * (1 - self.premium_share)))

    @property
    def best_scores(self) -> Mapping[str, float]:
        """What no prediction surpasses on average, by name, as for `best_auc`.

        R2, RMSE [$], accuracy, AUC, and the losses of the quantiles .1, .5 and .9; precision,
        recall and F1 are those of the most accurate classifier. All are for houses of which
        nothing is missing.
        """
        left = np.sqrt(1 - self.r_squared)
        found = {"R2": self.r_squared, "RMSE": self.price_sd * left, "AUC": self.best_auc}
        for level in (0.1, 0.5, 0.9):  # pinball loss of a normal's own quantile: its density there
            density = np.exp(-0.5 * ndtri(level) ** 2) / np.sqrt(2 * np.pi)
            found[f"pinball {level:g}"] = self.price_sd * left * density
        right = called = self.premium_share
        if self.r_squared < 1:
            index, density, premium = self._population()
            likely = premium > 0.5
            right = float(trapezoid(density * premium * likely, index))
            called = float(trapezoid(density * likely, index))
        found["accuracy"] = 1 - called + 2 * right - self.premium_share
        found["precision"] = right / called if called else 0.0
        found["recall"] = right / self.premium_share
        found["F1"] = 2 * right / (called + self.premium_share)
        return {name: float(value) for name, value in found.items()}

    def _population(self) -> tuple[Array, Array, Array]:
        """Values of a normal index, its density, and how probably each is premium."""
        index = np.linspace(-10, 10, 20_001)
        quantile = -ndtri(self.premium_share)
        scale = np.sqrt(1 - self.r_squared)
        if self.r_squared > 0:  # finer where premium turns from unlikely to likely
            index = np.union1d(index, (quantile + scale * index) / np.sqrt(self.r_squared))
        premium = ndtr((np.sqrt(self.r_squared) * index - quantile) / scale)
        return index, np.exp(-0.5 * index**2) / np.sqrt(2 * np.pi), premium


def _expect_prices(prices: ArrayLike) -> Array:
    do = "pass one finite price per house"
    return expect_finite(
        "prices", expect_array("prices", prices, ("rows",), do=do)[:, None], ["price"], do=do
    )[:, 0]
