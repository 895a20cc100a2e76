"""ROS parameters from a frozen config dataclass, so that every default has one home."""

from dataclasses import MISSING, fields
from typing import get_args, get_type_hints

from rcl_interfaces.msg import ParameterDescriptor


def declare_config(node, config_type: type, **fixed):
    """Declare one parameter a field of ``config_type`` and build the config from what was set.

    Args:
        node: The node that gets the parameters.
        config_type: A frozen dataclass of bool, int, float, str and tuples of these.
        **fixed: Fields that are no parameters but given by the node itself.

    Raises:
        ValueError: A value is not of the field's type, or the config itself rejects it.
    """
    hints = get_type_hints(config_type)
    values = dict(fixed)
    for field in fields(config_type):
        if field.name in fixed:
            continue
        default = field.default if field.default is not MISSING else field.default_factory()
        kind = hints[field.name]
        values[field.name] = declare(node, field.name, default, kind)
    return config_type(**values)


def declare(node, name: str, default, kind: type | None = None):
    """Declare one parameter and return its value, cast to the type of its default."""
    kind = kind or type(default)
    sent = list(default) if isinstance(default, tuple) else default
    # Dynamic typing: a user's `rate:=30` is an integer to ROS and a rate all the same.
    descriptor = ParameterDescriptor(dynamic_typing=True)
    value = node.declare_parameter(name, sent, descriptor).value
    try:
        return _cast(value, kind)
    except (TypeError, ValueError) as error:
        wanted = getattr(kind, "__name__", kind)
        raise ValueError(f"parameter {name} must be {wanted}, got {value!r}") from error


def _cast(value, kind):
    if kind is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise TypeError
    if kind in (int, float):
        if isinstance(value, bool) or (kind is int and float(value) != int(value)):
            raise TypeError
        return kind(value)
    if kind is str:
        # `source:=0` arrives as an integer.
        return str(value)
    if kind is tuple or getattr(kind, "__origin__", None) is tuple:
        args = get_args(kind)
        item = args[0] if args else None
        return tuple(_cast(v, item) if item else v for v in value)
    return value
