"""Simulated products that live at a pace: each a `Product` behind a real device of the SDK.

1. A product does what its owner's hub says: pushed configuration changes the physics, commands are
   obeyed, notices are kept where a display would show them.
2. History is lived before the present, sample by sample, by the same physics and the same seed.
3. The clock is injected; one thread lives for the whole fleet.
4. Never here: what is asked of the hub as a manufacturer or a customer.
"""
