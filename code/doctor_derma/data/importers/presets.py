"""How published data sets, and most people's own tables, are laid out; as data.

Each layout is as its publisher describes it; ``docs/data.md`` names the descriptions, and what of
each is read and what is not. Classes are those of HAM10000 and ``scc``, so that sets add up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from doctor_derma.errors import DermaError

# The settings of a layout that name columns.
COLUMNS = (
    *("image", "label", "lesion", "patient", "age", "sex"),
    *("site", "source", "split", "skin_tone"),
)
# The class of a label that is left out, and the label that stands for all that aren't listed.
DROP = "drop"
OTHERS = "*"


@dataclass(frozen=True)
class Layout:
    """Which columns of a table say what, and what its labels are called here.

    A column may have several names, as ``a|b``: the first that is there and filled counts.

    Attributes
    ----------
    name, title : for the command line, for people
    image : id, file name or path of the picture
    label : what the picture shows
    classes : columns of 0 and 1 or of ``X``, one a class, where there is no ``label``
    lesion, patient : what pictures of one lesion, of one patient share
    source : clinic or collection
    split : ``train``, ``val`` or ``test``, in any usual spelling
    labels : label to class, in any letter case; `DROP` leaves it out, `OTHERS` is all others,
        which are classes themselves unless it is there
    keep : column and the one value of it with which rows are used
    marks : further columns by which the layout is known
    split_by_table : the names of the tables say the split
    split_rows : split to the table whose column ``indexes`` has the row numbers of it, from 0
    reference, licence : as its publisher says
    """

    name: str
    title: str
    image: str
    label: str = ""
    classes: tuple[str, ...] = ()
    lesion: str = ""
    patient: str = ""
    age: str = ""
    sex: str = ""
    site: str = ""
    source: str = ""
    split: str = ""
    skin_tone: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    split_by_table: bool = False
    split_rows: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    licence: str = "unknown"

    def class_of(self, label: str) -> str | None:
        """Return the class of a label, `DROP` where it is left out, None where there is none."""
        if not label:
            return None
        return self._by_label.get(label.casefold(), self._by_label.get(OTHERS, label))

    @cached_property
    def _by_label(self) -> dict[str, str]:
        return {label.casefold(): dx for label, dx in self.labels.items()}


# The codes of ISIC's challenges, and of PAD-UFES-20, as classes.
_CODES = {
    **{name: name for name in ("akiec", "bcc", "bkl", "df", "mel", "nv", "scc", "vasc")},
    **{"ak": "akiec", "ack": "akiec", "sccka": "scc", "sek": "bkl", "nev": "nv"},
    "unk": DROP,
}
# Diagnoses of the ISIC archive, of its second and third level and from before it had levels.
_ARCHIVE = {
    "solar or actinic keratosis": "akiec",
    "actinic keratosis": "akiec",
    "squamous cell carcinoma in situ": "akiec",
    "squamous cell carcinoma in situ, bowens disease": "akiec",
    "basal cell carcinoma": "bcc",
    "seborrheic keratosis": "bkl",
    "pigmented benign keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichen planus like keratosis": "bkl",
    "lichenoid keratosis": "bkl",
    "dermatofibroma": "df",
    "melanoma": "mel",
    "melanoma, nos": "mel",
    "melanoma in situ": "mel",
    "melanoma invasive": "mel",
    "melanoma metastasis": "mel",
    "nevus": "nv",
    "blue nevus": "nv",
    **{f"nevus, {kind}": "nv" for kind in ("congenital", "combined", "spitz", "reed", "acral")},
    **{f"nevus, nos, {kind}": "nv" for kind in ("junctional", "compound", "dermal")},
    "squamous cell carcinoma": "scc",
    "squamous cell carcinoma, nos": "scc",
    "squamous cell carcinoma, invasive": "scc",
    "keratoacanthoma": "scc",
    "vascular lesion": "vasc",
    "hemangioma": "vasc",
    "angiokeratoma": "vasc",
    "pyogenic granuloma": "vasc",
    "benign soft tissue proliferations - vascular": "vasc",
    OTHERS: DROP,
}
_DERM7PT = {
    "basal cell carcinoma": "bcc",
    **{
        f"{kind} nevus": "nv"
        for kind in (
            *("blue", "clark", "combined", "congenital", "dermal", "recurrent"),
            "reed or spitz",
        )
    },
    "dermatofibroma": "df",
    "melanoma": "mel",
    **{
        f"melanoma ({depth})": "mel"
        for depth in (
            *("in situ", "less than 0.76 mm", "0.76 to 1.5 mm"),
            "more than 1.5 mm",
        )
    },
    "melanoma metastasis": "mel",
    "seborrheic keratosis": "bkl",
    "vascular lesion": "vasc",
    OTHERS: DROP,
}
_NON_COMMERCIAL = "CC BY-NC 4.0"

HAM10000 = Layout(
    "ham10000",
    "HAM10000",
    image="image_id",
    label="dx",
    lesion="lesion_id",
    age="age",
    sex="sex",
    site="localization",
    source="dataset",
    marks=("dx_type",),
    reference="doi:10.7910/DVN/DBW86T",
    licence=_NON_COMMERCIAL,
)
PRESETS = (
    HAM10000,
    Layout(
        "isic2018",
        "ISIC 2018, task 3",
        image="image",
        classes=("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
        lesion="lesion_id",
        labels=_CODES,
        split_by_table=True,
        reference="https://challenge.isic-archive.com/data/#2018",
        licence=_NON_COMMERCIAL,
    ),
    Layout(
        "isic2019",
        "ISIC 2019",
        image="image",
        classes=("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"),
        lesion="lesion_id",
        age="age_approx",
        sex="sex",
        site="anatom_site_general",
        labels=_CODES,
        split_by_table=True,
        reference="https://challenge.isic-archive.com/data/#2019",
        licence=_NON_COMMERCIAL,
    ),
    Layout(
        "isic2020",
        "ISIC 2020",
        image="image_name",
        label="target",
        lesion="lesion_id",
        patient="patient_id",
        age="age_approx",
        sex="sex",
        site="anatom_site_general_challenge",
        labels={"0": "benign", "1": "malignant"},
        marks=("patient_id",),
        reference="doi:10.34970/2020-ds01",
        licence=_NON_COMMERCIAL,
    ),
    Layout(
        "milk10k",
        "MILK10k",
        image="isic_id",
        classes=(
            *("AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF"),
            *("MAL_OTH", "MEL", "NV", "SCCKA", "VASC"),
        ),
        lesion="lesion_id",
        age="age_approx",
        sex="sex",
        site="site",
        skin_tone="skin_tone_class",
        labels=_CODES | {name: name for name in ("ben_oth", "inf", "mal_oth")},
        keep={"image_type": "dermoscopic"},
        marks=("image_type", "lesion_id"),
        reference="doi:10.34970/648456",
        licence=_NON_COMMERCIAL,
    ),
    Layout(
        "bcn20000",
        "BCN20000",
        image="bcn_filename",
        label="diagnosis",
        lesion="lesion_id",
        age="age_approx",
        sex="sex",
        site="anatom_site_general",
        split="split",
        labels=_CODES,
        reference="doi:10.1038/s41597-024-03387-w",
        licence=_NON_COMMERCIAL,
    ),
    Layout(
        "pad-ufes-20",
        "PAD-UFES-20",
        image="img_id",
        label="diagnostic",
        lesion="lesion_id",
        patient="patient_id",
        age="age",
        sex="gender",
        site="region",
        skin_tone="fitspatrick",
        labels=_CODES,
        marks=("patient_id",),
        reference="doi:10.17632/zr7vgbcyr2.1",
        licence="CC BY 4.0",
    ),
    Layout(
        "derm7pt",
        "Derm7pt",
        image="derm",
        label="diagnosis",
        lesion="case_num",
        sex="sex",
        site="location",
        labels=_DERM7PT,
        marks=("clinic", "seven_point_score"),
        split_rows={
            "train": "train_indexes.csv",
            "val": "valid_indexes.csv",
            "test": "test_indexes.csv",
        },
        reference="doi:10.1109/JBHI.2018.2824327",
        licence="for research only",
    ),
    Layout(
        "ph2",
        "PH2",
        image="Image Name|Name",
        label="Clinical Diagnosis",
        classes=("Common Nevus", "Atypical Nevus", "Melanoma"),
        labels={
            **{"0": "nv", "1": "nv", "2": "mel"},
            **{"common nevus": "nv", "atypical nevus": "nv", "melanoma": "mel"},
        },
        marks=("Histological Diagnosis",),
        reference="doi:10.1109/EMBC.2013.6610779",
        licence="for research and education only",
    ),
    Layout(
        "fitzpatrick17k",
        "Fitzpatrick17k",
        image="md5hash",
        label="three_partition_label",
        skin_tone="fitzpatrick_scale|fitzpatrick",
        reference="https://github.com/mattgroh/fitzpatrick17k",
        licence="CC BY-NC-SA 3.0",
    ),
    Layout(
        "ddi",
        "DDI",
        image="DDI_file",
        label="malignant",
        skin_tone="skin_tone",
        labels={"true": "malignant", "false": "benign", "1": "malignant", "0": "benign"},
        reference="doi:10.1126/sciadv.abq6147",
        licence="Stanford University Dataset Research Use Agreement",
    ),
    Layout(
        "isic-archive",
        "the ISIC archive",
        image="isic_id",
        label="diagnosis_3|diagnosis_2|diagnosis",
        lesion="lesion_id",
        patient="patient_id",
        age="age_approx",
        sex="sex",
        site="anatom_site_general",
        skin_tone="fitzpatrick_skin_type",
        source="attribution",
        labels=_ARCHIVE,
        keep={"image_type": "dermoscopic"},
        reference="https://www.isic-archive.com",
        licence="as the column copyright_license says",
    ),
)
# What people call their columns; tried where no preset fits.
LABEL_COLUMNS = (
    *("dx", "diagnosis", "diagnostic", "diagnosis_1", "diagnosis_2", "diagnosis_3"),
    *("label", "labels", "class", "class_name", "target", "category", "benign_malignant"),
)
USUAL = Layout(
    "table",
    "a table of labels",
    image="image|image_id|image_name|img_id|isic_id|filename|file_name|file|path|id",
    label="|".join(LABEL_COLUMNS),
    lesion="lesion|lesion_id",
    patient="patient|patient_id",
    age="age|age_approx",
    sex="sex|gender",
    site="site|localization|location|anatom_site_general|region",
    source="source|dataset|clinic",
    split="split|set|subset",
    skin_tone="skin_tone|fitzpatrick|fitzpatrick_skin_type|fitzpatrick_scale",
)


def preset_named(name: str) -> Layout:
    """Return a preset by its name; raise a ``DermaError`` where there is none."""
    found = next((preset for preset in PRESETS if preset.name == name.casefold()), None)
    if found is None:
        names = ", ".join(preset.name for preset in PRESETS)
        raise DermaError(f"preset '{name}' is not known; the presets are {names}")
    return found


def adapted(base: Layout, settings: Mapping[str, Any], where: str) -> Layout:
    """Return a layout with some of its settings changed.

    Other columns of labels have other labels: those of ``base`` go when these change.

    Parameters
    ----------
    settings : attributes of `Layout`
    where : named in errors

    Raises
    ------
    DermaError
        When a setting is unknown or is no text, no list of columns or no map.
    """
    kinds = {item.name: type(getattr(base, item.name)) for item in fields(Layout)}
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in kinds:
            raise DermaError(f"{where}: '{name}' is no setting; they are {', '.join(kinds)}")
        if kinds[name] is str and isinstance(value, str):
            changes[name] = value
        elif kinds[name] is tuple and isinstance(value, list | tuple):
            changes[name] = tuple(map(str, value))
        elif kinds[name] is dict and isinstance(value, Mapping):
            changes[name] = {str(key): str(one) for key, one in value.items()}
        elif kinds[name] is bool and isinstance(value, bool):
            changes[name] = value
        else:
            wanted = "a list of columns" if kinds[name] is tuple else "a map"
            wanted = "text" if kinds[name] is str else wanted
            raise DermaError(f"{where}: '{name}' is {value!r}, and should be {wanted}")
    if changes.get("label") or changes.get("classes"):
        base = replace(base, label="", classes=(), labels={})
    changes["labels"] = {**base.labels, **changes.get("labels", {})}
    return replace(base, **changes)


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings of a layout from YAML; raise a ``DermaError`` where it holds none."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DermaError(f"{path}: can't be read ({' '.join(str(error).split())})") from error
    if not isinstance(settings, dict):
        raise DermaError(f"{path}: holds no settings; write lines such as 'label: diagnosis'")
    return settings
