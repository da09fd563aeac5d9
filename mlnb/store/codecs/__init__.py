"""The codecs that mlnb brings, each a plug-in of ``mlnb.codecs``."""
