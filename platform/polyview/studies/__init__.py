"""A study from beginning to end: render, run, search, report.

In: a `Study` and a home. Out: an `Outcome`, its report and its runs in MLflow. Read `driver.py` first; `bundles`
takes a study elsewhere.
"""
