"""The options of every verb: one dataclass each, from which types, limits and `--help` are taken.

The values live in `configs/*.yaml`. A field without a value there is one that the user must give.
"""

from __future__ import annotations

from robolearn.config.data_verbs import (
    DataCheckConfig,
    DataImportConfig,
    DataInfoConfig,
    DataMergeConfig,
    DataSplitConfig,
    DataViewConfig,
)
from robolearn.config.learning import AlgoConfig, InteractionConfig, PPOConfig, ResidualConfig, TrainingConfig
from robolearn.config.policies import (
    ChunkPolicyConfig,
    DiffusionConfig,
    FlowConfig,
    PolicyConfig,
    VLAConfig,
    VlaFinetuneConfig,
)
from robolearn.config.simulation import (
    EnvConfig,
    ExpertConfig,
    PrivilegeConfig,
    RandomizationConfig,
    RayConfig,
    RobotConfig,
    TaskConfig,
)
from robolearn.config.verbs import (
    BenchConfig,
    CollectConfig,
    DeployConfig,
    DeploymentConfig,
    EvalConfig,
    ExportConfig,
    FinetuneConfig,
    QuickstartConfig,
    SimArmConfig,
    TeachConfig,
    TrainConfig,
    ViewConfig,
)

VERBS: dict[str, type] = {
    "quickstart": QuickstartConfig,
    "collect": CollectConfig,
    "train": TrainConfig,
    "teach": TeachConfig,
    "finetune": FinetuneConfig,
    "eval": EvalConfig,
    "export": ExportConfig,
    "deploy": DeployConfig,
    "sim-arm": SimArmConfig,
    "view": ViewConfig,
    "data info": DataInfoConfig,
    "data check": DataCheckConfig,
    "data view": DataViewConfig,
    "data merge": DataMergeConfig,
    "data split": DataSplitConfig,
    "data import": DataImportConfig,
    "bench": BenchConfig,
}
# types of group options that add fields to their group's own
VARIANTS: dict[str, type] = {
    "diffusion": DiffusionConfig,
    "flow": FlowConfig,
    "residual": ResidualConfig,
    "vla": VLAConfig,
    "vla_finetune": VlaFinetuneConfig,
}

__all__ = [
    "VARIANTS",
    "VERBS",
    "AlgoConfig",
    "BenchConfig",
    "ChunkPolicyConfig",
    "CollectConfig",
    "DataCheckConfig",
    "DataImportConfig",
    "DataInfoConfig",
    "DataMergeConfig",
    "DataSplitConfig",
    "DataViewConfig",
    "DeployConfig",
    "DeploymentConfig",
    "DiffusionConfig",
    "EnvConfig",
    "EvalConfig",
    "ExpertConfig",
    "ExportConfig",
    "FinetuneConfig",
    "FlowConfig",
    "InteractionConfig",
    "PPOConfig",
    "PolicyConfig",
    "PrivilegeConfig",
    "QuickstartConfig",
    "RandomizationConfig",
    "RayConfig",
    "ResidualConfig",
    "RobotConfig",
    "SimArmConfig",
    "TaskConfig",
    "TeachConfig",
    "TrainConfig",
    "TrainingConfig",
    "VLAConfig",
    "ViewConfig",
    "VlaFinetuneConfig",
]
