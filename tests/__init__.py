"""The tests of both programs."""

# Before OpenVINO, which it keeps from reporting to its maker.
import service as service
