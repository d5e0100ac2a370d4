"""The drill: a broker of its own is killed under load at every fault point, and then the promises are proved.

It sees the broker as partners do (its own client, its own receiving partner) and reads the record itself, so that a
fault of the broker's counters or of its adapters cannot hide another one.
"""
