"""The exporter's exceptions.

    ExportError                 anything the exporter reports
    ├── UnknownTarget           no model of that name
    ├── BadChoice               a format, precision or size that this model is not made in
    ├── MissingWeights          the model's weights are not installed
    ├── MissingTool             an extra package is not installed
    ├── TooLittleMemory         the model is too large for this computer's memory
    ├── ConversionFailed        a converter refused the network
    ├── NotEqual                the file does not compute what the network computes
    ├── QualityLost             the smaller file is too much worse on the validation pictures
    ├── UnreadableModel         a file given to check or bench is no model, or a damaged one
    ├── UnknownOperation        the MIL evaluator meets an operation that it does not know
    └── CannotWrite             no space, no permission

Every message says what to do next.
"""

from __future__ import annotations


class ExportError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnknownTarget(ExportError):
    pass


class BadChoice(ExportError):
    pass


class MissingWeights(ExportError):
    pass


class MissingTool(ExportError):
    pass


class TooLittleMemory(ExportError):
    pass


class ConversionFailed(ExportError):
    pass


class NotEqual(ExportError):
    pass


class QualityLost(ExportError):
    pass


class UnreadableModel(ExportError):
    pass


class UnknownOperation(ExportError):
    pass


class CannotWrite(ExportError):
    pass
