"""What the Anchor panel says of progress, and the words of its tables."""

from __future__ import annotations

from .words import alert


WORDS = {
    # --- progress
    "dba_anchor_idle": alert(
        "No anchor run yet. It reads the general data once and changes nothing in the model.",
        "Запусков ещё не было. Общие данные читаются один раз, модель не меняется.",
        "尚无锚点任务。它只读取一遍通用数据，不改变模型。",
        "아직 앵커 실행이 없습니다. 일반 데이터를 한 번 읽으며 모델은 바뀌지 않습니다.",
        "アンカーの実行はまだありません。汎用データを一度読むだけで、モデルは変わりません。",
    ),
    "dba_anchor_preparing": alert(
        "Preparing: the model and the data are being loaded.",
        "Подготовка: загружаются модель и данные.",
        "准备中：正在加载模型和数据。",
        "준비 중: 모델과 데이터를 불러오고 있습니다.",
        "準備中：モデルとデータを読み込んでいます。",
    ),
    "dba_anchor_writing": alert(
        "All data has been read; the mean is being compressed and written.",
        "Все данные прочитаны; среднее сжимается и записывается.",
        "数据已全部读完，正在压缩并写入平均梯度。",
        "모든 데이터를 읽었습니다. 평균을 압축하여 쓰고 있습니다.",
        "すべてのデータを読み終え、平均を圧縮して書き込んでいます。",
    ),
    "dba_anchor_step": alert(
        "Step {step} of {steps}",
        "Шаг {step} из {steps}",
        "第 {step} / {steps} 步",
        "{steps} 중 {step} 스텝",
        "ステップ {step} / {steps}",
    ),
    "dba_word_rate": alert("tokens/s", "токенов/с", "token/秒", "토큰/초", "トークン/秒"),
    "dba_word_remaining": alert("remaining", "осталось", "剩余时间", "남은 시간", "残り時間"),
    "dba_word_elapsed": alert("elapsed", "прошло", "已用时间", "경과 시간", "経過時間"),
    "dba_word_tokens": alert("tokens read", "прочитано токенов", "已读 token", "읽은 토큰", "読んだトークン"),
    "dba_word_half_cosine": alert(
        "cosine of halves", "косинус половин", "两半余弦", "절반 간 코사인", "半分同士のコサイン"
    ),
    "dba_anchor_curve_title": alert("Convergence", "Сходимость", "收敛", "수렴", "収束"),
    "dba_anchor_curve_step": alert("step", "шаг", "步", "스텝", "ステップ"),
    "dba_anchor_curve_empty": alert(
        "The first point comes after the first check.",
        "Первая точка появится после первой проверки.",
        "第一次检查后出现第一个点。",
        "첫 확인 후 첫 점이 나타납니다.",
        "最初の確認の後に最初の点が現れます。",
    ),
    "dba_anchor_picture": alert(
        "Energy kept and norm of the mean gradient per layer and kind of matrix",
        "Сохранённая энергия и норма среднего градиента по слоям и видам матриц",
        "各层各类矩阵保留的能量与平均梯度范数",
        "층과 행렬 종류별 보존 에너지와 평균 기울기의 노름",
        "層と行列の種類ごとの保持エネルギーと平均勾配のノルム",
    ),
    # --- list and details
    "dba_fit_same": alert(
        "fits: the same model", "подходит: та же модель", "匹配：同一模型", "맞음: 같은 모델", "適合：同じモデル"
    ),
    "dba_fit_by_name": alert(
        "fits by its name; the files are compared once the model is here",
        "подходит по имени; файлы сравнятся, когда модель будет загружена",
        "名称匹配；模型下载后再比较文件",
        "이름은 맞음. 모델이 내려받아지면 파일을 비교합니다",
        "名前は適合。モデルが手元に来たらファイルを比べます",
    ),
    "dba_fit_other_name": alert(
        "made for {reason}", "сделан для {reason}", "为 {reason} 计算", "{reason}용", "{reason} 用"
    ),
    "dba_fit_other": alert(
        "does not fit: {reason}",
        "не подходит: {reason}",
        "不匹配：{reason}",
        "맞지 않음: {reason}",
        "不適合：{reason}",
    ),
    "dba_fit_no_model": alert(
        "no model is chosen", "модель не выбрана", "未选择模型", "모델이 선택되지 않음", "モデルが未選択"
    ),
    "dba_fit_model_broken": alert(
        "the model cannot be read: {reason}",
        "модель не читается: {reason}",
        "无法读取模型：{reason}",
        "모델을 읽을 수 없음: {reason}",
        "モデルを読めません：{reason}",
    ),
    "dba_fit_broken": alert(
        "damaged: {reason}", "повреждён: {reason}", "已损坏：{reason}", "손상됨: {reason}", "破損：{reason}"
    ),
    "dba_anchor_no_anchors": alert(
        "No anchors were found here.",
        "Якорей не найдено.",
        "未找到锚点。",
        "앵커를 찾지 못했습니다.",
        "アンカーは見つかりませんでした。",
    ),
    "dba_word_fit": alert("Fit", "Совместимость", "匹配", "적합", "適合"),
    "dba_word_folder": alert("Folder", "Папка", "目录", "폴더", "フォルダ"),
    "dba_word_base_model": alert("Base model", "Базовая модель", "基础模型", "기본 모델", "ベースモデル"),
    "dba_word_rank": alert("Rank", "Ранг", "秩", "랭크", "ランク"),
    "dba_word_samples": alert("Samples", "Примеры", "样本数", "샘플 수", "サンプル数"),
    "dba_word_created": alert("Created", "Создан", "创建时间", "만든 시각", "作成日時"),
    "dba_word_size": alert("Size", "Размер", "大小", "크기", "サイズ"),
    "dba_word_data": alert("General data", "Общие данные", "通用数据", "일반 데이터", "汎用データ"),
    "dba_word_stage": alert(
        "Read as, template", "Чтение, шаблон", "读取方式、模板", "읽는 방식, 템플릿", "読み方、テンプレート"
    ),
    "dba_word_steps": alert("Steps", "Шаги", "步数", "스텝", "ステップ数"),
    "dba_word_energy": alert("Energy kept", "Сохранено энергии", "保留能量", "보존 에너지", "保持エネルギー"),
    "dba_word_norm": alert("Norm", "Норма", "范数", "노름", "ノルム"),
    "dba_word_stored": alert("Stored as", "Хранится как", "存储类型", "저장 형식", "保存形式"),
    "dba_word_licence": alert("Licence", "Лицензия", "许可证", "라이선스", "ライセンス"),
    "dba_word_hub": alert("From the hub", "Из хаба", "来自 Hub", "허브 출처", "Hub から"),
    "dba_word_fingerprint": alert(
        "Fingerprint of the model", "Отпечаток модели", "模型指纹", "모델 지문", "モデルの指紋"
    ),
    "dba_word_architecture": alert("Architecture", "Архитектура", "架构", "구조", "アーキテクチャ"),
    "dba_pull_running": alert(
        "Downloading {name} …",
        "Скачивается {name} …",
        "正在下载 {name} …",
        "{name} 내려받는 중 …",
        "{name} をダウンロード中 …",
    ),
    "dba_pull_done": alert(
        "{name} is in {path}.",
        "{name} теперь в {path}.",
        "{name} 已保存到 {path}。",
        "{name}을(를) {path}에 저장했습니다.",
        "{name} を {path} に保存しました。",
    ),
}
