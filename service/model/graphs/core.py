"""The one OpenVINO core of a process."""

import openvino

CORE = openvino.Core()
"""Lives as long as the process, and no other core may be made beside it in the main thread.

The first model that a core compiles gives its thread an alternate signal stack (sigaltstack), and the last owner of
the core takes that stack away. Two cores that end in the order in which they began leave the thread with a stack that
is no longer mapped, and the next signal that Python handles (SIGTERM, the SIGCHLD of torch's data loaders) ends the
process with a segmentation fault (OpenVINO 2026, `SigAltStackSetup` of the CPU plugin).
"""
