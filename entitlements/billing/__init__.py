"""What usage costs and who pays for it: money, billing periods, credit and proration; pure."""
