"""What the Anchor panel says: what is wrong with the form, and how runs, downloads and anchors are."""

from __future__ import annotations

from .anchor_words import WORDS
from .job_messages import MESSAGES
from .words import alert


ALERTS = {
    **MESSAGES,
    **WORDS,
    # --- what is wrong with the form
    "dba_anchor_busy": alert(
        "An anchor is being made already; stop that run first.",
        "Якорь уже вычисляется; сначала остановите этот запуск.",
        "已有锚点正在计算，请先停止它。",
        "이미 앵커를 계산하고 있습니다. 먼저 중지하세요.",
        "すでにアンカーを計算中です。先に停止してください。",
    ),
    "dba_anchor_train_busy": alert(
        "A training or an evaluation is running on this board; wait for it, abort it, or tick “{label}”.",
        "На этой доске идёт обучение или оценка; дождитесь конца, прервите или отметьте «{label}».",
        "面板上正在训练或评估：请等待、先中止，或勾选“{label}”。",
        "이 보드에서 훈련이나 평가가 실행 중입니다. 기다리거나 중단하거나 “{label}”을(를) 선택하세요.",
        "このボードで学習または評価が実行中です。終了を待つか、中断するか、「{label}」を選んでください。",
    ),
    "dba_anchor_start_failed": alert(
        "It could not be started: {reason}",
        "Не удалось запустить: {reason}",
        "无法启动：{reason}",
        "시작할 수 없습니다: {reason}",
        "開始できませんでした：{reason}",
    ),
    "dba_anchor_no_model": alert(
        "No model is chosen: take one at the top of the page.",
        "Модель не выбрана: выберите её вверху страницы.",
        "未选择模型，请在页面顶部选择。",
        "모델을 선택하지 않았습니다. 페이지 위에서 선택하세요.",
        "モデルが選ばれていません。ページ上部で選んでください。",
    ),
    "dba_anchor_model_missing": alert(
        "The model path {path} is neither a folder nor a hub id.",
        "Путь модели {path} — не папка и не имя в хабе.",
        "模型路径 {path} 既不是目录也不是 Hub 名称。",
        "모델 경로 {path}은(는) 폴더도 허브 ID도 아닙니다.",
        "モデルのパス {path} はフォルダでも Hub の ID でもありません。",
    ),
    "dba_anchor_model_broken": alert(
        "The model cannot be read: {reason}",
        "Модель не читается: {reason}",
        "无法读取模型：{reason}",
        "모델을 읽을 수 없습니다: {reason}",
        "モデルを読めません：{reason}",
    ),
    "dba_anchor_no_data": alert(
        "No general data is chosen.",
        "Общие данные не выбраны.",
        "未选择通用数据。",
        "일반 데이터를 선택하지 않았습니다.",
        "汎用データが選ばれていません。",
    ),
    "dba_anchor_data_name": alert(
        "A name of a data set holds a comma.",
        "Имя набора данных содержит запятую.",
        "数据集名称中包含逗号。",
        "데이터셋 이름에 쉼표가 있습니다.",
        "データセット名にカンマが含まれています。",
    ),
    "dba_anchor_number": alert(
        "{label}: a whole number from {low} to {high} is needed.",
        "{label}: нужно целое число от {low} до {high}.",
        "{label}：需要 {low} 到 {high} 之间的整数。",
        "{label}: {low}부터 {high}까지의 정수여야 합니다.",
        "{label}：{low} から {high} までの整数が必要です。",
    ),
    "dba_anchor_cosine_range": alert(
        "{label}: a number from 0 to below 1 is needed.",
        "{label}: нужно число от 0 до 1 (не включая).",
        "{label}：需要 0 到 1（不含）之间的数。",
        "{label}: 0 이상 1 미만의 수여야 합니다.",
        "{label}：0 以上 1 未満の数が必要です。",
    ),
    "dba_anchor_choice": alert(
        "{label}: one of {choices} is needed.",
        "{label}: нужно одно из {choices}.",
        "{label}：须为 {choices} 之一。",
        "{label}: {choices} 중 하나여야 합니다.",
        "{label}：{choices} のいずれかが必要です。",
    ),
    "dba_anchor_folder_anchor": alert(
        "{path} holds an anchor already: tick “Replace”, or name another folder.",
        "В {path} уже есть якорь: отметьте «Заменить» или укажите другую папку.",
        "{path} 中已有锚点：请勾选“覆盖”或换一个目录。",
        "{path}에 이미 앵커가 있습니다. “덮어쓰기”를 선택하거나 다른 폴더를 지정하세요.",
        "{path} には既にアンカーがあります。「置き換える」を選ぶか、別のフォルダを指定してください。",
    ),
    "dba_anchor_folder_taken": alert(
        "{path} holds other files: name a new folder.",
        "В {path} лежат другие файлы: укажите новую папку.",
        "{path} 中有其他文件，请换一个新目录。",
        "{path}에 다른 파일이 있습니다. 새 폴더를 지정하세요.",
        "{path} には他のファイルがあります。新しいフォルダを指定してください。",
    ),
    "dba_anchor_folder_unreadable": alert(
        "The folder cannot be used: {reason}",
        "Папку нельзя использовать: {reason}",
        "目录无法使用：{reason}",
        "폴더를 사용할 수 없습니다: {reason}",
        "フォルダを使用できません：{reason}",
    ),
    "dba_anchor_hub_form": alert(
        "A hub id has the form owner/name or owner/name@revision.",
        "Имя в хабе имеет вид owner/name или owner/name@revision.",
        "Hub 名称的格式为 owner/name 或 owner/name@revision。",
        "허브 ID는 owner/name 또는 owner/name@revision 형식입니다.",
        "Hub の ID は owner/name または owner/name@revision の形です。",
    ),
    # --- preview
    "dba_preview_rows": alert(
        "{name}: rows {first} to {last} of {count}",
        "{name}: строки {first}–{last} из {count}",
        "{name}：第 {first}–{last} 条，共 {count} 条",
        "{name}: {count}행 중 {first}~{last}",
        "{name}：{count} 行中 {first}～{last}",
    ),
    "dba_preview_unknown": alert(
        "{name} is no data set of this folder.",
        "{name}: такого набора в этой папке нет.",
        "此目录中没有数据集 {name}。",
        "{name}은(는) 이 폴더의 데이터셋이 아닙니다.",
        "{name} はこのフォルダのデータセットではありません。",
    ),
    "dba_preview_online": alert(
        "{name} lies on a hub; only local files can be previewed.",
        "{name} лежит в хабе; просмотр возможен только для локальных файлов.",
        "{name} 位于 Hub 上，只能预览本地文件。",
        "{name}은(는) 허브에 있습니다. 로컬 파일만 미리 볼 수 있습니다.",
        "{name} は Hub にあります。プレビューできるのはローカルファイルだけです。",
    ),
}
