"""What the Results panel says."""

from __future__ import annotations


ALERTS: dict[str, dict[str, str]] = {
    "dba_results_all": {
        "en": "all",
        "ru": "все",
        "zh": "全部",
        "ko": "전체",
        "ja": "すべて",
    },
    "dba_results_found": {
        "en": "Runs: {runs}, of them with scores: {measured}.",
        "ru": "Запусков: {runs}, из них с оценками: {measured}.",
        "zh": "共 {runs} 个实验，其中 {measured} 个有得分。",
        "ko": "실행 {runs}개, 그중 점수가 있는 실행 {measured}개.",
        "ja": "実験 {runs} 件、うち得点のあるもの {measured} 件。",
    },
    "dba_results_none": {
        "en": "There is no run below {folder} yet. A training started on this board, `make demo` or "
        "`llamafactory-dba evaluate` leaves one.",
        "ru": "В папке {folder} пока нет запусков. Их создают обучение, запущенное здесь, `make demo` или "
        "`llamafactory-dba evaluate`.",
        "zh": "{folder} 下还没有实验。在本面板启动的训练、`make demo` 或 `llamafactory-dba evaluate` 会生成实验。",
        "ko": "{folder} 아래에 아직 실행이 없습니다. 이 보드에서 시작한 학습, `make demo`, "
        "`llamafactory-dba evaluate`가 실행을 남깁니다.",
        "ja": "{folder} の下にはまだ実験がありません。このボードで始めた学習、`make demo`、"
        "`llamafactory-dba evaluate` が実験を残します。",
    },
    "dba_results_cut_short": {
        "en": "Only the first {limit} folders were looked into; name a narrower folder.",
        "ru": "Просмотрены только первые {limit} папок; укажите более узкую папку.",
        "zh": "只查看了前 {limit} 个目录；请指定更小的范围。",
        "ko": "처음 {limit}개 폴더만 살펴보았습니다. 더 좁은 폴더를 지정하세요.",
        "ja": "最初の {limit} 個のフォルダーだけを調べました。より狭い範囲を指定してください。",
    },
    "dba_results_no_folder": {
        "en": "This folder is not there: {folder}",
        "ru": "Такой папки нет: {folder}",
        "zh": "该目录不存在：{folder}",
        "ko": "이 폴더가 없습니다: {folder}",
        "ja": "このフォルダーはありません：{folder}",
    },
    "dba_results_no_scores": {
        "en": "None of these runs has scores, so there is no report: measure one with `llamafactory-dba evaluate`.",
        "ru": "Ни у одного из запусков нет оценок, поэтому нет и отчёта: измерьте запуск командой "
        "`llamafactory-dba evaluate`.",
        "zh": "这些实验都没有得分，因此没有报告：请用 `llamafactory-dba evaluate` 评测。",
        "ko": "점수가 있는 실행이 없어 보고서를 만들 수 없습니다. `llamafactory-dba evaluate`로 측정하세요.",
        "ja": "得点のある実験がないため、レポートはありません。`llamafactory-dba evaluate` で測定してください。",
    },
    "dba_results_choose_two": {
        "en": "Choose two different runs first.",
        "ru": "Сначала выберите два разных запуска.",
        "zh": "请先选择两个不同的实验。",
        "ko": "먼저 서로 다른 실행 두 개를 선택하세요.",
        "ja": "まず異なる 2 つの実験を選んでください。",
    },
    "dba_results_gone": {
        "en": "One of the two runs is no longer there: press “Find runs”.",
        "ru": "Одного из запусков больше нет: нажмите «Найти запуски».",
        "zh": "其中一个实验已不存在：请点击“查找实验”。",
        "ko": "두 실행 중 하나가 더 이상 없습니다. “실행 찾기”를 누르세요.",
        "ja": "どちらかの実験がもうありません。「実験を探す」を押してください。",
    },
    "dba_results_not_comparable": {
        "en": "Their scores do not compare: {reason}",
        "ru": "Их оценки несравнимы: {reason}",
        "zh": "两者的得分不可比较：{reason}",
        "ko": "두 실행의 점수는 비교할 수 없습니다: {reason}",
        "ja": "両者の得点は比較できません：{reason}",
    },
    "dba_results_report_title": {
        "en": "Report",
        "ru": "Отчёт",
        "zh": "报告",
        "ko": "보고서",
        "ja": "レポート",
    },
    "dba_results_table_title": {
        "en": "Table of runs",
        "ru": "Таблица запусков",
        "zh": "实验列表",
        "ko": "실행 표",
        "ja": "実験の表",
    },
    "dba_results_plot_title": {
        "en": "Learning against forgetting",
        "ru": "Обучение и забывание",
        "zh": "学到的与遗忘的",
        "ko": "학습과 망각",
        "ja": "学習と忘却",
    },
    "dba_results_plot_note": {
        "en": "Up: more learned. Right: more kept. Dotted: equal S.",
        "ru": "Выше: больше выучено. Правее: больше сохранено. Пунктир: равная S.",
        "zh": "越靠上学到越多，越靠右保留越多。虚线：S 相等。",
        "ko": "위로 갈수록 더 많이 배움, 오른쪽일수록 더 많이 유지. 점선: 같은 S.",
        "ja": "上ほど多く学び、右ほど多く保つ。点線は S が等しい線。",
    },
    "dba_results_plot_more": {
        "en": "{count} more domains are not drawn; choose one.",
        "ru": "Ещё областей без графика: {count}; выберите одну.",
        "zh": "另有 {count} 个领域未绘制；请选择其一。",
        "ko": "도메인 {count}개는 그리지 않았습니다. 하나를 선택하세요.",
        "ja": "ほかに {count} 個のドメインは描いていません。1 つ選んでください。",
    },
    "dba_results_curves_title": {
        "en": "Training curves",
        "ru": "Кривые обучения",
        "zh": "训练曲线",
        "ko": "학습 곡선",
        "ja": "学習曲線",
    },
    "dba_results_scores_note": {
        "en": "S_D: mean over the domain tasks, S_G: over the general tasks, S: their harmonic mean, all in %. Δ: "
        "difference from the base model in percentage points. –: not measured.",
        "ru": "S_D: среднее по задачам области, S_G: по общим задачам, S: их среднее гармоническое, всё в %. Δ: "
        "разность с базовой моделью в процентных пунктах. –: не измерено.",
        "zh": "S_D：领域任务均值，S_G：通用任务均值，S：二者的调和平均，单位均为 %。"
        "Δ：与基座模型之差（百分点）。–：未测量。",
        "ko": "S_D: 도메인 과제 평균, S_G: 일반 과제 평균, S: 두 값의 조화 평균, 모두 %. Δ: 기반 모델과의 차이(%p). "
        "–: 측정하지 않음.",
        "ja": "S_D：ドメイン課題の平均、S_G：一般課題の平均、S：両者の調和平均（いずれも %）。Δ：ベースモデルとの差"
        "（ポイント）。–：未測定。",
    },
    "dba_results_state_measured": {
        "en": "measured",
        "ru": "измерен",
        "zh": "已评测",
        "ko": "측정됨",
        "ja": "測定済み",
    },
    "dba_results_state_trained": {
        "en": "trained, no scores",
        "ru": "обучен, без оценок",
        "zh": "已训练，未评测",
        "ko": "학습됨, 점수 없음",
        "ja": "学習済み・未測定",
    },
    "dba_results_state_unfinished": {
        "en": "not finished",
        "ru": "не закончен",
        "zh": "未完成",
        "ko": "완료되지 않음",
        "ja": "未完了",
    },
    "dba_results_state_broken": {
        "en": "cannot be read",
        "ru": "не читается",
        "zh": "无法读取",
        "ko": "읽을 수 없음",
        "ja": "読み込めません",
    },
    "dba_results_col_run": {"en": "Run", "ru": "Запуск", "zh": "实验", "ko": "실행", "ja": "実験"},
    "dba_results_col_method": {"en": "Method", "ru": "Метод", "zh": "方法", "ko": "방법", "ja": "手法"},
    "dba_results_col_domain": {"en": "Domain", "ru": "Область", "zh": "领域", "ko": "도메인", "ja": "ドメイン"},
    "dba_results_col_seed": {"en": "Seed", "ru": "Seed", "zh": "随机种子", "ko": "시드", "ja": "シード"},
    "dba_results_col_kept": {
        "en": "Kept %",
        "ru": "Сохранено %",
        "zh": "保留 %",
        "ko": "유지 %",
        "ja": "保持 %",
    },
    "dba_results_col_time": {"en": "Time", "ru": "Время", "zh": "时间", "ko": "시간", "ja": "時間"},
    "dba_results_col_tokens": {"en": "Tokens", "ru": "Токены", "zh": "词元", "ko": "토큰", "ja": "トークン"},
    "dba_results_col_memory": {
        "en": "Peak memory",
        "ru": "Пик памяти",
        "zh": "内存峰值",
        "ko": "최대 메모리",
        "ja": "最大メモリ",
    },
    "dba_results_col_energy": {"en": "Energy", "ru": "Энергия", "zh": "能耗", "ko": "에너지", "ja": "エネルギー"},
    "dba_results_col_state": {"en": "State", "ru": "Состояние", "zh": "状态", "ko": "상태", "ja": "状態"},
    "dba_results_col_difference": {
        "en": "Difference",
        "ru": "Разность",
        "zh": "差值",
        "ko": "차이",
        "ja": "差",
    },
    "dba_results_group_scores": {"en": "Scores", "ru": "Оценки", "zh": "得分", "ko": "점수", "ja": "得点"},
    "dba_results_group_tasks": {"en": "Tasks", "ru": "Задачи", "zh": "任务", "ko": "과제", "ja": "課題"},
    "dba_results_group_cost": {"en": "Cost", "ru": "Затраты", "zh": "开销", "ko": "비용", "ja": "コスト"},
    "dba_results_group_settings": {
        "en": "Settings that differ",
        "ru": "Различающиеся параметры",
        "zh": "不同的设置",
        "ko": "서로 다른 설정",
        "ja": "異なる設定",
    },
    "dba_results_same_settings": {
        "en": "No setting differs, as far as the runs say.",
        "ru": "Судя по записям, параметры не различаются.",
        "zh": "就记录而言，设置没有差异。",
        "ko": "기록된 범위에서는 설정이 같습니다.",
        "ja": "記録の範囲では、設定に違いはありません。",
    },
    "dba_results_paired_note": {
        "en": "p: paired test of the two runs on the same samples (exact McNemar or paired bootstrap), not corrected "
        "for the number of tests; in brackets where the metric is no mean over samples.",
        "ru": "p: парный тест двух запусков на одних и тех же примерах (точный критерий Мак-Немара или парный "
        "бутстрэп), без поправки на число тестов; в скобках — если метрика не является средним по примерам.",
        "zh": "p：两个实验在相同样本上的配对检验（精确 McNemar 或配对自助法），未作多重检验校正；"
        "指标并非样本均值时加括号。",
        "ko": "p: 같은 표본에 대한 두 실행의 대응 검정(정확 McNemar 또는 대응 부트스트랩), 다중 검정 보정 없음. "
        "지표가 표본 평균이 아니면 괄호 안에 표시합니다.",
        "ja": "p：同じ標本での 2 実験の対応のある検定（正確 McNemar または対応ブートストラップ）。"
        "多重検定の補正はなし。指標が標本平均でない場合は括弧内。",
    },
}
