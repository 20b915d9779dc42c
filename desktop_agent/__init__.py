"""The desktop agent: captures the screen, finds where the phone points, pastes there."""
