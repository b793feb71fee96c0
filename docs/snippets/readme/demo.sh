cargo demo
