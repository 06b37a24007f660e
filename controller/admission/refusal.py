"""Why a body is no question that can be answered. Pure."""

from enum import StrEnum


class ReviewRefusal(StrEnum):
    """What is wrong with a body, or with where it was sent."""

    TOO_LARGE = "the body is too large"
    NOT_A_REVIEW = "the body is not a review of the version that is read here"
    UNKNOWN_PATH = "no webhook has this path"


class ReviewError(Exception):
    """A body without a question in it: there is no uid that an answer could name."""

    def __init__(self, reason: ReviewRefusal) -> None:
        super().__init__(reason.value)
        self.reason = reason
