"""Elements of the Results panel. Messages are in `results_messages`."""

from __future__ import annotations

from typing import Any

from .results_messages import ALERTS


__all__ = ["ALERTS", "LOCALES"]

LOCALES: dict[str, dict[str, dict[str, Any]]] = {
    "dba_results_folder": {
        "en": {
            "label": "Folder with runs",
            "info": "Every run below it is listed; a path inside the folders that the board may use. A dot is the "
            "folder that the board was started in.",
            "placeholder": "saves",
        },
        "ru": {
            "label": "Папка с запусками",
            "info": "Показываются все запуски внутри неё; путь должен лежать в папках, доступных панели. Точка — "
            "папка, в которой запущена панель.",
            "placeholder": "saves",
        },
        "zh": {
            "label": "实验目录",
            "info": "列出该目录下的所有实验；路径须在面板允许使用的目录之内。点号表示启动面板时所在的目录。",
            "placeholder": "saves",
        },
        "ko": {
            "label": "실행 결과 폴더",
            "info": "이 폴더 아래의 모든 실행을 나열합니다. 보드가 사용할 수 있는 폴더 안의 경로여야 합니다. "
            "점(.)은 보드를 시작한 폴더입니다.",
            "placeholder": "saves",
        },
        "ja": {
            "label": "実験フォルダー",
            "info": "この下にあるすべての実験を一覧します。ボードが使えるフォルダー内のパスを指定してください。"
            "ピリオドはボードを起動したフォルダーです。",
            "placeholder": "saves",
        },
    },
    "dba_results_find": {
        "en": {"value": "Find runs"},
        "ru": {"value": "Найти запуски"},
        "zh": {"value": "查找实验"},
        "ko": {"value": "실행 찾기"},
        "ja": {"value": "実験を探す"},
    },
    "dba_results_domain": {
        "en": {"label": "Domain", "info": "Scores of different domains do not compare."},
        "ru": {"label": "Предметная область", "info": "Оценки разных областей несравнимы."},
        "zh": {"label": "领域", "info": "不同领域的得分不可互相比较。"},
        "ko": {"label": "도메인", "info": "서로 다른 도메인의 점수는 비교할 수 없습니다."},
        "ja": {"label": "ドメイン", "info": "異なるドメインの得点は比較できません。"},
    },
    "dba_results_order": {
        "en": {
            "label": "Order",
            "info": "Runs without that number come last.",
            "choices": [
                ("best S first", "score"),
                ("newest first", "newest"),
                ("shortest first", "cheapest"),
                ("by name", "name"),
            ],
        },
        "ru": {
            "label": "Порядок",
            "info": "Запуски без этого числа стоят в конце.",
            "choices": [
                ("сначала лучшая S", "score"),
                ("сначала новые", "newest"),
                ("сначала короткие", "cheapest"),
                ("по имени", "name"),
            ],
        },
        "zh": {
            "label": "排序",
            "info": "没有该数值的实验排在最后。",
            "choices": [
                ("S 从高到低", "score"),
                ("最新优先", "newest"),
                ("耗时最短优先", "cheapest"),
                ("按名称", "name"),
            ],
        },
        "ko": {
            "label": "정렬",
            "info": "해당 값이 없는 실행은 맨 뒤에 놓입니다.",
            "choices": [
                ("S가 높은 순", "score"),
                ("최신 순", "newest"),
                ("짧은 시간 순", "cheapest"),
                ("이름 순", "name"),
            ],
        },
        "ja": {
            "label": "並び順",
            "info": "その値がない実験は最後に置かれます。",
            "choices": [
                ("S の高い順", "score"),
                ("新しい順", "newest"),
                ("短時間の順", "cheapest"),
                ("名前順", "name"),
            ],
        },
    },
    "dba_results_open": {
        "en": {"value": "Open the report"},
        "ru": {"value": "Открыть отчёт"},
        "zh": {"value": "打开报告"},
        "ko": {"value": "보고서 열기"},
        "ja": {"value": "レポートを開く"},
    },
    "dba_results_close": {
        "en": {"value": "Close the report"},
        "ru": {"value": "Закрыть отчёт"},
        "zh": {"value": "关闭报告"},
        "ko": {"value": "보고서 닫기"},
        "ja": {"value": "レポートを閉じる"},
    },
    "dba_results_download": {
        "en": {"label": "Download the report (HTML)"},
        "ru": {"label": "Скачать отчёт (HTML)"},
        "zh": {"label": "下载报告（HTML）"},
        "ko": {"label": "보고서 내려받기 (HTML)"},
        "ja": {"label": "レポートをダウンロード（HTML）"},
    },
    "dba_results_first": {
        "en": {"label": "First run", "info": "What the second run is compared with."},
        "ru": {"label": "Первый запуск", "info": "С ним сравнивается второй."},
        "zh": {"label": "第一个实验", "info": "作为比较的基准。"},
        "ko": {"label": "첫 번째 실행", "info": "두 번째 실행의 비교 기준입니다."},
        "ja": {"label": "1 つ目の実験", "info": "2 つ目の実験はこれと比べられます。"},
    },
    "dba_results_second": {
        "en": {"label": "Second run", "info": "Differences are second minus first, in percentage points."},
        "ru": {"label": "Второй запуск", "info": "Разности: второй минус первый, в процентных пунктах."},
        "zh": {"label": "第二个实验", "info": "差值为第二个减第一个，单位为百分点。"},
        "ko": {"label": "두 번째 실행", "info": "차이는 두 번째 빼기 첫 번째이며 단위는 %p입니다."},
        "ja": {"label": "2 つ目の実験", "info": "差は 2 つ目から 1 つ目を引いた値で、単位はポイントです。"},
    },
    "dba_results_compare": {
        "en": {"value": "Side by side"},
        "ru": {"value": "Сравнить"},
        "zh": {"value": "并排比较"},
        "ko": {"value": "나란히 비교"},
        "ja": {"value": "並べて比較"},
    },
}
