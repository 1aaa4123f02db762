//! What a Caracal mandate is and when it is accepted.
