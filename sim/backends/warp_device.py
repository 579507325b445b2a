"""MuJoCo Warp's model and data of many worlds on one device: host arrays in, host arrays out. Knows no task.

What a step launches is recorded once and replayed from then on: as a CUDA graph on a GPU, by Warp itself on a CPU. A
recording holds the addresses of its arrays, so it is made anew where arrays are replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Any

import mujoco
import mujoco_warp as mjw
import numpy as np
import warp as wp
from mujoco_warp import DeterminismType, OverflowType, SetConstGroup
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest

Array = NDArray[np.floating]
# what MuJoCo Warp derives from a field before the first step, and so must derive anew where worlds differ in it;
# what follows for tendons, equality constraints, cameras and lights is left out: scenes have none or do not use it
MASSES = ("body_mass", "body_inertia", "body_ipos", "body_iquat", "dof_armature")
DERIVED = {
    SetConstGroup.FIXED: (("body_mass", "geom_size"), ("body_subtreemass", "geom_aabb", "geom_rbound")),
    SetConstGroup.INERT0: (MASSES, ("dof_invweight0", "body_invweight0", "actuator_acc0")),
}

# the option that gives more room where there was too little, by what was reported
ROOM = {
    "njmax": OverflowType.NEFC | OverflowType.NJMAX_NNZ,
    "nconmax": OverflowType.BROADPHASE | OverflowType.NARROWPHASE | OverflowType.CCD,
}


def find_device(name: str | None) -> Any:
    """Warp's device of a name such as "cuda:0" or "cpu"; the first GPU where there is one, else the CPU, when None.

    Raises:
        UserError: there is no such device here.
    """
    try:
        return wp.get_device(name)
    except (ValueError, RuntimeError) as error:
        here = ", ".join(device.alias for device in wp.get_devices())
        raise UserError(f"there is no device '{name}' for MuJoCo Warp: this machine has {here}") from error


class Recorded:
    """Launches of kernels that are recorded on their first call.

    On that call they run one by one, which compiles and loads what they need, and are then recorded for the next.
    """

    def __init__(self, device: Any, launch: Callable[[], None]) -> None:
        """Record `launch`, which must touch the same arrays every time."""
        self._device, self._launch = device, launch
        self._graph: Any = None
        # launches allocate scratch memory, which CUDA can record from its memory pools only
        self._can_record = device.is_cpu or wp.is_mempool_enabled(device)

    def __call__(self) -> None:
        """Run them."""
        if self._graph is not None:
            wp.capture_launch(self._graph)
            return
        with wp.ScopedDevice(self._device):
            self._launch()
            if self._can_record:
                with wp.ScopedCapture() as capture:
                    self._launch()
                self._graph = capture.graph

    def forget(self) -> None:
        """Record anew on the next call, as arrays were replaced."""
        self._graph = None


class DeviceWorlds:
    """Many worlds of one model, stepped together.

    Attributes:
        model: MuJoCo Warp's model; what worlds differ in has `num_worlds` rows, the rest one.
        data: MuJoCo Warp's data.
        device: where they are.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        *,
        num_worlds: int,
        device: str | None,
        nconmax: int,
        njmax: int,
        deterministic: bool,
    ) -> None:
        """Allocate.

        Args:
            model: the scene.
            num_worlds: copies of it.
            device: see `find_device`.
            nconmax: contacts per world, on average over the worlds, that there is room for.
            njmax: constraint rows per world that there is room for.
            deterministic: whether a GPU, too, takes sums in the same order every time.

        Raises:
            UserError: there is no such device here.
        """
        self.device = find_device(device)
        self._num_worlds = num_worlds
        # without this flag two boxes go through the general convex routine, whose float32 normals of a box that just
        # touches the table are now and then far off
        model = copy(model)
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_NATIVECCD)
        with wp.ScopedDevice(self.device):
            self.model: Any = mjw.put_model(model)
            self.model.opt.warn_overflow = 0  # reported by `overflow`, not printed from within a kernel
            self.model.opt.deterministic = int(DeterminismType.ALL if deterministic else DeterminismType.NONE)
            # a penetrating pair of geoms needs kilobytes of scratch memory, and makes several contacts
            pairs = min(nconmax, max(8, nconmax // 3))
            self.data: Any = mjw.make_data(model, nworld=num_worlds, nconmax=nconmax, njmax=njmax, nccdmax=pairs)
            self._mask: Any = wp.zeros(num_worlds, dtype=bool)
        self._controls: Any = wp.empty((0, num_worlds, model.nu), dtype=float, device=self.device)
        self._own: dict[str, NDArray[Any]] = {}
        self._clear = Recorded(self.device, partial(mjw.reset_data, self.model, self.data, self._mask))
        self._kinematics = Recorded(self.device, partial(mjw.fwd_kinematics, self.model, self.data))
        self._advance = Recorded(self.device, self._steps)
        self._constants = {
            group: Recorded(self.device, partial(mjw.set_const, self.model, self.data, int(group), restore=False))
            for group in DERIVED
        }

    def _steps(self) -> None:
        for k in range(self._controls.shape[0]):
            wp.copy(self.data.ctrl, self._controls[k])
            mjw.step(self.model, self.data)
        mjw.fwd_kinematics(self.model, self.data)  # a step leaves the poses of its beginning

    def clear(self, worlds: NDArray[np.intp]) -> None:
        """Put worlds into the model's reference pose, at rest and without wrenches; poses follow with `place`."""
        mask = np.zeros(self._num_worlds, bool)
        mask[worlds] = True
        self._mask.assign(mask)
        self._clear()

    def place(self, **values: Array) -> None:
        """Set fields of the data of all worlds, such as qpos [num_worlds, nq], and what follows for poses."""
        for name, value in values.items():
            if value.size:  # a scene may have no fixtures
                getattr(self.data, name).assign(np.asarray(value, np.float32))
        self._kinematics()

    def steps(self, qpos: Array, controls: Array) -> None:
        """Advance one physics step per row of `controls` [nstep, num_worlds, nu] from positions `qpos`."""
        if len(controls) != self._controls.shape[0]:
            self._controls = wp.empty(controls.shape, dtype=float, device=self.device)
            self._advance.forget()
        self._controls.assign(np.ascontiguousarray(controls, np.float32))
        self.data.qpos.assign(np.asarray(qpos, np.float32))
        self._advance()

    def push(self, body: int, wrench: Array) -> None:
        """Set the force and torque [num_worlds, 6] on the centre of mass of a body."""
        self.data.xfrc_applied[:, body].assign(np.asarray(wrench, np.float32))

    def read(self, name: str) -> NDArray[np.float64]:
        """A copy of a field of the data [num_worlds, ...]."""
        return np.array(getattr(self.data, name).numpy(), np.float64)

    def overflow(self) -> dict[str, int]:
        """How many worlds lacked room since the last call, by the option that gives more; empty where none did."""
        bits = np.array(self.data.overflow.numpy())
        if not bits.any():
            return {}
        self.data.overflow.zero_()
        lacking = {option: int(np.count_nonzero(bits & int(kinds))) for option, kinds in ROOM.items()}
        return {option: worlds for option, worlds in lacking.items() if worlds}

    def model_field(self, name: str) -> NDArray[np.floating] | None:
        """Values [num_worlds, ...] of a field of the model; None where all worlds have the model's own."""
        return self._own.get(name)

    def write_model(self, worlds: NDArray[np.intp], fields: Mapping[str, Array]) -> None:
        """Give some worlds their own values [len(worlds), ...] of fields of the model; poses follow with `place`.

        Raises:
            UserError: MuJoCo Warp has one value of a field for all worlds, or no such field.
        """
        for name in fields:
            check_field(name)
        wanted = [group for group, (sources, _) in DERIVED.items() if not fields.keys().isdisjoint(sources)]
        for name in (*fields, *(name for group in wanted for name in DERIVED[group][1])):
            self._expand(name)
        for name, values in fields.items():
            array = getattr(self.model, name)
            own = self._own.setdefault(name, np.array(array.numpy()))
            own[worlds] = np.reshape(values, (len(worlds), *own.shape[1:]))
            array.assign(own)
        for group in wanted:
            self._constants[group]()

    def _expand(self, name: str) -> None:
        """Give every world a row of a field of the model."""
        shared = getattr(self.model, name)
        if shared.shape[0] == self._num_worlds:
            return
        rows = np.repeat(shared.numpy(), self._num_worlds, axis=0)
        setattr(self.model, name, wp.array(rows, dtype=shared.dtype, device=self.device))
        for recorded in (self._clear, self._kinematics, self._advance, *self._constants.values()):
            recorded.forget()


def check_field(name: str) -> None:
    """Raise UserError unless worlds can differ in a field of the model."""
    specs = {key: getattr(field.type, "shape", ()) for key, field in mjw.Model.__dataclass_fields__.items()}
    own = [key for key, shape in specs.items() if shape and shape[0] == "*"]
    if name in own:
        return
    if hasattr(mujoco.MjModel, name):
        raise UserError(f"MuJoCo Warp has one '{name}' for all worlds: leave it out or use the mujoco backend")
    raise UserError(f"the model has no field '{name}'{nearest(name, own)}")
