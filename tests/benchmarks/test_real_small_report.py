import pytest

from benchmarks.real_small import report, summary


@pytest.fixture
def result():
    def scores(accuracy):
        general = {"accuracy": accuracy, "accuracy_ci95": [accuracy - 5, accuracy + 5], "chance": 10.0}
        finance = {
            "weighted_f1": 70.0,
            "weighted_f1_ci95": [68.0, 72.0],
            "accuracy": 71.0,
            "majority_f1": 52.0,
            "n": 9,
        }
        return {
            "finance": finance | {"majority_f1": 52.0, "n": 9},
            "general": {"topic": general | {"answer_loss": 1.0, "n": 300}},
            "text": {"novels": {"loss": 3.0}},
        }

    run = {"method": "dba", "seconds": 60.0, "peak_rss_mib": 900.0, "note": "", "learning_rate": 5e-5, "steps": 400}
    log = {"gamma": 0.25, "similarity": 0.0123, "correction": 8.9}
    runs = [run | {"seed": seed, "dba_log": log, "scores": scores(40.0 + seed)} for seed in (0, 1)]
    base = scores(50.0)
    anchor_info = {"norm": 0.2, "half_cosine": 0.14}
    machine = {
        "cpu": "a CPU",
        "gpu": None,
        "threads": 1,
        "cores": 2,
        "memory_gib": 24,
        "python": "3.11",
        "versions": {},
    }
    return summary.summarise(base, runs) | {
        "machine": machine | {"python": "3.11", "versions": {"torch": "2"}},
        "base_training": {"parameters": 4_000_000, "pt": {"seconds": 10}, "sft": {"seconds": 20}},
        "finance_rows": 3200,
        "batch": 8,
        "anchor": {"rows": 3200, "seconds": 80.0, "peak_rss_mib": 1000.0, "anchor_bytes": 2**24} | anchor_info,
        "base": base,
        "runs": runs,
    }


def test_page_has_every_table_and_fills_in_the_reading(result):
    page = report.render({"": result, "k0": result | {"title": "boost"}}, "S_G was {{summary.dba.S_G}}; {{k0:batch}}.")
    assert "S_G was 40.5 ± 0.7; 8." in page
    assert "| dba | 5e-05 | 400 | 70.0 ± 0.0 | 40.5 ± 0.7 |" in page
    assert "| topic * | 300 | 10.0 | 50.0 (45.0–55.0) | 40.5 |" in page
    assert "| dba | 1 | 70.0 (68.0–72.0) | 71.0 | 0.25 | 0.0123 | 8.9 |" in page
    assert "Sensitivity: boost" in page
    assert "16.0 MiB on disk" in page


def test_a_figure_that_is_not_in_the_results_is_an_error(result):
    with pytest.raises(KeyError, match=r"no 'summary\.dba\.S_X'"):
        report.render({"": result}, "{{summary.dba.S_X}}")


def test_show():
    assert report.show({"mean": 1.26, "std": None, "n": 1}, "S") == "1.3"
    assert report.show(5e-5, "learning_rate") == "5e-05"
    assert report.show(3) == "3"
